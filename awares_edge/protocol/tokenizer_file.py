"""Reading an untrusted `tokenizer.json`: bounded in size, and only of Qwen2.5-VL's kind.

The tokenizers library runs everything in the file, even replacements that make text longer.
Only the parts that Qwen2.5-VL's tokenizer is made of are admitted; the pattern that splits text may
differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from awares_edge.errors import BundleError

MAX_TOKENIZER_BYTES = 64 << 20
"""Largest file (Qwen2.5-VL's has 7 to 11 MB)."""

MAX_PATTERN = 1024
"""Longest regular expression that splits text, in characters (Qwen2.5-VL's has 111)."""
_MAX_SPLITS = 4


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a Qwen2.5-VL `tokenizer.json`.

    Raises:
        BundleError: it cannot be read, is too large, or is a tokenizer of another kind.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOKENIZER_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_TOKENIZER_BYTES:
        raise BundleError(f"{path} is over {MAX_TOKENIZER_BYTES >> 20} MiB: not a tokenizer")
    with failures(f"{path.name} is not a tokenizer"):
        tokenizer = Tokenizer.from_buffer(data)
    if wrong := _wrong_part(tokenizer):
        raise BundleError(
            f"{path.name} is not Qwen2.5-VL's kind of tokenizer ({wrong}): use the checkpoint's own"
        )
    return tokenizer


@contextmanager
def failures(what: str) -> Iterator[None]:
    """Turn what the tokenizers library raises into one line that begins with `what`.

    Raises:
        BundleError: it raised its bare Exception, or panicked, which is a BaseException.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__module__ != "pyo3_runtime":
            raise
        reason = " ".join(str(error).split())[:200]
        raise BundleError(f"{what}: {reason}") from error


def _wrong_part(tokenizer: Tokenizer) -> str | None:
    """Name of the first part that Qwen2.5-VL's tokenizer does not have; None where all is well."""
    model = tokenizer.model
    if type(model).__name__ != "BPE" or model.dropout or model.continuing_subword_prefix:
        return "model"
    if (_state(tokenizer.normalizer) or {}).get("type") not in (None, "NFC"):
        return "normalizer"
    if (_state(tokenizer.post_processor) or {}).get("type") not in (None, "ByteLevel"):
        return "post_processor"
    if (_state(tokenizer.decoder) or {}).get("type") != "ByteLevel":
        return "decoder"
    return None if _splits_plainly(_state(tokenizer.pre_tokenizer)) else "pre_tokenizer"


def _splits_plainly(state: dict[str, Any] | None) -> bool:
    """Is this bytes as characters, after at most a few splits by pattern?"""
    steps = (state or {}).get("pretokenizers", [state or {}])
    *splits, last = steps or [{}]
    return (
        last.get("type") == "ByteLevel"
        and len(splits) < _MAX_SPLITS
        and all(step.get("type") == "Split" for step in splits)
        and all(len(str(step.get("pattern"))) <= MAX_PATTERN for step in splits)
    )


def _state(part: Any) -> dict[str, Any] | None:
    """A part of a tokenizer as `tokenizer.json` spells it."""
    return None if part is None else json.loads(part.__getstate__())
