"""The header of a safetensors file, under the rules of the official library.

https://github.com/huggingface/safetensors, `Metadata::validate`: tensors follow each other
without gaps or overlaps and fill the file to its last byte. Only numbers are read.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, TypeGuard

from awares_edge.checkpoint.tensorfile import ITEM_BYTES, Stored
from awares_edge.errors import CheckpointError
from awares_edge.schema import parse_json

MAX_HEADER_BYTES = 100_000_000
"""The official library's limit."""


def read_header(path: Path) -> dict[str, Stored]:
    """Names and places of the tensors in a safetensors file.

    Raises:
        CheckpointError: not a complete safetensors file, or tensors of unsupported dtype.
    """
    return read_described(path)[0]


def read_described(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """The tensors of a safetensors file, as `read_header` gives them, and the file's metadata.

    Raises:
        CheckpointError: as for `read_header`.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise CheckpointError(f"{path} is not a complete safetensors file")
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        header = parse_json(text.decode("utf-8"), str(path))
    # Bytes that are not UTF-8, or not JSON.
    except ValueError as error:
        raise _broken(path) from error
    if not text.startswith(b"{"):
        raise _broken(path)
    metadata = header.pop("__metadata__", None)
    if metadata is not None and not _texts(metadata):
        raise _broken(path)
    start = 8 + length
    spans = {name: _Span.read(path, name, entry) for name, entry in header.items()}
    _require_contiguous(path, spans, size - start)
    stored = {
        name: Stored(path, name, span.dtype, span.shape, start + span.start)
        for name, span in spans.items()
    }
    return stored, metadata or {}


class _Span:
    """One entry of the header, checked by itself."""

    def __init__(self, dtype: str, shape: tuple[int, ...], start: int, stop: int) -> None:
        self.dtype = dtype
        self.shape = shape
        self.start = start
        self.stop = stop

    @classmethod
    def read(cls, path: Path, name: str, entry: Any) -> _Span:
        broken = CheckpointError(f"{path}: the entry of {name} is broken: download the file again")
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise broken
        dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not (_naturals(shape) and _naturals(span) and len(span) == 2):
            raise broken
        if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
            raise CheckpointError(
                f"{path}: {name} is stored as {dtype}: give the unquantized checkpoint (F32, F16, "
                "BF16)"
            )
        if span[1] - span[0] != math.prod(shape) * ITEM_BYTES[dtype]:
            raise broken
        return cls(dtype, tuple(shape), span[0], span[1])


def _require_contiguous(path: Path, spans: dict[str, _Span], data: int) -> None:
    """Every byte of the data belongs to exactly one tensor."""
    at = 0
    for name, span in sorted(spans.items(), key=lambda item: (item[1].start, item[1].stop)):
        if span.start != at:
            raise CheckpointError(
                f"{path}: {name} overlaps another tensor or leaves a gap: download the file again"
            )
        at = span.stop
    if at > data:
        raise CheckpointError(f"{path} is truncated: download it again")
    if at < data:
        raise CheckpointError(
            f"{path} holds {data - at} bytes after its tensors: download it again"
        )


def _broken(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} has a broken header: download it again")


def _naturals(value: Any) -> TypeGuard[list[int]]:
    # The bound keeps products small; no file is that large.
    return (
        isinstance(value, list)
        and len(value) <= 64
        and all(type(i) is int and 0 <= i < 1 << 48 for i in value)
    )


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
