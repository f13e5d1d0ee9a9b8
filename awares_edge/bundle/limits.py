"""What the fields of a manifest admit: one limit a field, and the rules between fields.

The limits admit every Qwen2.5-VL (3B to 72B) with room to spare, and nothing that makes a device
allocate or compute without bound: a session's memory follows from them and the picture's size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from awares_edge.bundle.schema import Items, Limits, Real, Text, Whole
from awares_edge.errors import BundleError
from awares_edge.protocol import CROP_NAMES, parse_call
from awares_edge.spec import GRAPH_SUFFIX, MANIFEST_NAME

if TYPE_CHECKING:
    from awares_edge.bundle.manifest import Manifest

MAX_FILES = 4096
MAX_GRAPHS = 16
MAX_VOCABULARY = 1 << 20
MAX_CACHE_NUMBERS = 1 << 20
"""Most numbers that the KV cache holds for one token (a 72B model: 163,840)."""
MAX_PATCHES = 1 << 17
"""Most patches of one picture (Qwen2.5-VL's own limit is 65,536)."""
MAX_WINDOW_SIDE = 64
"""Most patches along a side of an attention window (Qwen2.5-VL: 8)."""
MAX_HEAD_DIM = 1024

_WIDTH = Whole(1, 1 << 16)
_HEADS = Whole(1, 1024)
_DEPTH = Whole(1, 1024)
_TOKEN = Whole(0, MAX_VOCABULARY - 1)
_AREA = Whole(1, 1 << 24)
_WORD = Text(1, 32, re.compile(r"[a-z0-9_.-]+"), "a short lower-case name")
_NAME = re.compile(r"(?!(?:.*/)?\.{1,2}(?:/|$))[\w+.-]+(?:/[\w+.-]+)*", re.ASCII)
_FILE = Text(1, 255, _NAME, "a file name inside the bundle")

LIMITS: Limits = {
    "runtime": _WORD,
    "precision": _WORD,
    "model.name": Text(0, 256),
    "model.license": Text(0, 256),
    "model.base_model": Text(0, 1024),
    "model.hidden_size": _WIDTH,
    "model.intermediate_size": Whole(1, 1 << 20),
    "model.layers": _DEPTH,
    "model.heads": _HEADS,
    "model.kv_heads": _HEADS,
    "model.head_dim": Whole(2, MAX_HEAD_DIM),
    "model.vocabulary": Whole(1, MAX_VOCABULARY),
    "model.rope_theta": Real(1, 1e12),
    "model.mrope_section[]": Whole(0, MAX_HEAD_DIM),
    "model.norm_eps": Real(1e-12, 0.1),
    "model.context": Whole(1, 1 << 24),
    "model.vision.hidden_size": _WIDTH,
    "model.vision.intermediate_size": Whole(1, 1 << 20),
    "model.vision.depth": _DEPTH,
    "model.vision.heads": _HEADS,
    "model.vision.window_size": Whole(1, 1 << 14),
    "model.vision.full_attention_blocks": Items(0, _DEPTH.high),
    "model.vision.full_attention_blocks[]": Whole(0, _DEPTH.high - 1),
    "model.vision.out_hidden_size": _WIDTH,
    "model.vision.patch_size": Whole(1, 256),
    "model.vision.temporal_patch_size": Whole(1, 4),
    "model.vision.merge_size": Whole(1, 16),
    "model.vision.in_channels": Whole(3, 3),
    "protocol.name": Text(1, 64),
    "protocol.system_prompt": Text(0, 16_384),
    "protocol.crop_ids": Items(1, len(CROP_NAMES)),
    "protocol.crop_ids[]": Text(1, 8),
    "protocol.thumbnail_side": Whole(1, 1 << 16),
    "protocol.min_pixels": _AREA,
    "protocol.max_pixels": _AREA,
    "protocol.source_max_side": Whole(1, 1 << 20),
    "protocol.source_max_pixels": Whole(1, 1 << 40),
    "protocol.min_crop_side": Whole(2, 1 << 16),
    "protocol.call_opening": Text(1, 64),
    "protocol.call_closing": Text(1, 64),
    "preprocessing.patch_size": Whole(1, 256),
    "preprocessing.temporal_patch_size": Whole(1, 4),
    "preprocessing.merge_size": Whole(1, 16),
    "preprocessing.image_mean[]": Real(-10, 10),
    "preprocessing.image_std[]": Real(1e-3, 100),
    "tokens.im_start": _TOKEN,
    "tokens.im_end": _TOKEN,
    "tokens.vision_start": _TOKEN,
    "tokens.vision_end": _TOKEN,
    "tokens.image_pad": _TOKEN,
    "tokens.eos": Items(1, 64),
    "tokens.eos[]": _TOKEN,
    "files": Items(0, MAX_FILES),
    "files.keys": _FILE,
    "files[].bytes": Whole(0, 1 << 44),
    "files[].sha256": Text(64, 64, re.compile("[0-9a-f]+"), "64 hexadecimal digits"),
    "provenance": Items(0, 64),
    "provenance.keys": Text(1, 64),
    "provenance[]": Text(0, 4096),
}


def check_rules(manifest: Manifest) -> None:
    """Check what must hold between the fields of a manifest.

    Raises:
        BundleError: the first rule that is broken.
    """
    for rule, holds in _RULES.items():
        if not holds(manifest):
            raise BundleError(f"the manifest is inconsistent: {rule}; export the bundle again")


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


def _calls_are_read(m: Manifest) -> bool:
    p = m.protocol
    calls = (f"{p.call_opening}'{i}'{p.call_closing}" for i in p.crop_ids)
    return all(parse_call(call, p.crop_ids).status == "ok" for call in calls)


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
    "min_pixels must be at most max_pixels": lambda m: (
        m.protocol.min_pixels <= m.protocol.max_pixels
    ),
    f"max_pixels must be 1 visual token to {MAX_PATCHES:,} patches": lambda m: (
        m.preprocessing.factor**2
        <= m.protocol.max_pixels
        <= MAX_PATCHES * m.model.vision.patch_size**2
    ),
    "crop_ids must be different and known": lambda m: (
        len(set(m.protocol.crop_ids)) == len(m.protocol.crop_ids)
        and set(m.protocol.crop_ids) <= set(CROP_NAMES)
    ),
    "call_opening and call_closing must make a readable call": _calls_are_read,
    "box_rule 'evaluator' needs a min_crop_side of at least 100": lambda m: (
        m.protocol.box_rule != "evaluator" or m.protocol.min_crop_side >= 100
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
