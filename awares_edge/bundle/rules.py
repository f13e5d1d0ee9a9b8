"""What must hold between the fields of a manifest, one rule a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from awares_edge.bundle.limits import (
    MAX_CACHE_NUMBERS,
    MAX_GRAPHS,
    MAX_HEAD_DIM,
    MAX_PATCHES,
    MAX_WINDOW_SIDE,
)
from awares_edge.errors import BundleError, InputError
from awares_edge.protocol.profiles import check_profile
from awares_edge.spec import GRAPH_SUFFIX, MANIFEST_NAME

if TYPE_CHECKING:
    from awares_edge.bundle.manifest import Manifest


def check_rules(manifest: Manifest) -> None:
    """Check what must hold between the fields of a manifest.

    Raises:
        BundleError: the first rule that is broken.
    """
    for rule, holds in _RULES.items():
        if not holds(manifest):
            raise BundleError(f"the manifest is inconsistent: {rule}; export the bundle again")
    try:
        check_profile(manifest.protocol, "protocol")
    except InputError as error:
        raise BundleError(f"the manifest is inconsistent: {error}") from error


def _cache_numbers(m: Manifest) -> int:
    return 2 * m.model.layers * m.model.kv_heads * m.model.head_dim


def _vision_head(m: Manifest) -> tuple[int, int]:
    return divmod(m.model.vision.hidden_size, m.model.vision.heads)


def _same_pixels(m: Manifest) -> bool:
    names = ("patch_size", "temporal_patch_size", "merge_size")
    return all(getattr(m.preprocessing, n) == getattr(m.model.vision, n) for n in names)


def _structure(m: Manifest) -> list[int]:
    t = m.tokens
    return [t.im_start, t.im_end, t.vision_start, t.vision_end, t.image_pad]


_RULES: dict[str, Callable[[Manifest], bool]] = {
    "heads times head_dim must be hidden_size": lambda m: (
        m.model.heads * m.model.head_dim == m.model.hidden_size
    ),
    "kv_heads must divide heads": lambda m: m.model.heads % m.model.kv_heads == 0,
    "mrope_section must sum to half of head_dim": lambda m: (
        2 * sum(m.model.mrope_section) == m.model.head_dim
    ),
    f"the KV cache of a token must hold at most {MAX_CACHE_NUMBERS:,} numbers": lambda m: (
        _cache_numbers(m) <= MAX_CACHE_NUMBERS
    ),
    "the vision heads must divide its hidden_size into multiples of 4": lambda m: (
        _vision_head(m)[1] == 0 and _vision_head(m)[0] % 4 == 0
    ),
    f"the vision head size must be at most {MAX_HEAD_DIM}": lambda m: (
        _vision_head(m)[0] <= MAX_HEAD_DIM
    ),
    "out_hidden_size must be the text model's hidden_size": lambda m: (
        m.model.vision.out_hidden_size == m.model.hidden_size
    ),
    "full_attention_blocks must be different and below depth": lambda m: _unique_below(
        m.model.vision.full_attention_blocks, m.model.vision.depth
    ),
    f"window_size must be 1 visual token to {MAX_WINDOW_SIDE} patches": lambda m: (
        m.preprocessing.factor
        <= m.model.vision.window_size
        <= MAX_WINDOW_SIDE * m.model.vision.patch_size
    ),
    "preprocessing and model.vision must have the same patch and merge sizes": _same_pixels,
    f"max_pixels must be 1 visual token to {MAX_PATCHES:,} patches": lambda m: (
        m.preprocessing.factor**2
        <= m.protocol.max_pixels
        <= MAX_PATCHES * m.model.vision.patch_size**2
    ),
    "the five structure tokens must be different and below vocabulary": lambda m: _unique_below(
        _structure(m), m.model.vocabulary
    ),
    "the eos tokens must be different and below vocabulary": lambda m: _unique_below(
        m.tokens.eos, m.model.vocabulary
    ),
    f"at most {MAX_GRAPHS} files may be graphs": lambda m: (
        sum(name.endswith(GRAPH_SUFFIX) for name in m.files) <= MAX_GRAPHS
    ),
    f"{MANIFEST_NAME} must not list itself": lambda m: MANIFEST_NAME not in m.files,
    "a file must not be listed as the folder of another": lambda m: (
        not any(parent in m.files for name in m.files for parent in _folders(name))
    ),
}


def _unique_below(values: list[int] | tuple[int, ...], limit: int) -> bool:
    return len(set(values)) == len(values) and all(value < limit for value in values)


def _folders(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]
