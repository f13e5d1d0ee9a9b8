"""Reading safetensors files row by row: a header checked by hand, then plain file reads.

Reads, rather than a memory map, keep the pages of a many-gigabyte checkpoint out of this process's
resident memory. Nothing but numbers is ever read: no pickle, no code.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import CheckpointError

Array: TypeAlias = NDArray[np.float32]

_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_MAX_HEADER_BYTES = 100 << 20
_CHUNK_BYTES = 16 << 20


class Tensor(Protocol):
    """One float tensor that is read in pieces."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def rows(self, start: int, stop: int) -> Array:
        """float32 copy of rows [start, stop) of the first axis."""
        ...


class Weights(Protocol):
    """A model's tensors by canonical name: a checkpoint, with or without an adapter."""

    def tensor(self, name: str) -> Tensor: ...


def chunks(tensor: Tensor) -> Iterator[Array]:
    """A tensor as float32 pieces of some 16 MiB along its first axis."""
    count = tensor.shape[0]
    step = max(1, _CHUNK_BYTES // (4 * math.prod(tensor.shape[1:])))
    for start in range(0, count, step):
        yield tensor.rows(start, min(start + step, count))


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies: file, dtype ("F32", "F16", "BF16"), shape, byte offset in the file."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def rows(self, start: int, stop: int) -> Array:
        """float32 copy of rows [start, stop)."""
        row = math.prod(self.shape[1:])
        width = _ITEM_BYTES[self.dtype]
        dtype = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[self.dtype]
        with self.path.open("rb") as file:
            file.seek(self.offset + start * row * width)
            raw = np.fromfile(file, dtype=dtype, count=(stop - start) * row)
        if raw.size != (stop - start) * row:
            raise CheckpointError(f"{self.path} is truncated: download it again")
        if self.dtype == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32, copy=False).reshape(stop - start, *self.shape[1:])


def read_header(path: Path) -> dict[str, Stored]:
    """Names and places of the tensors in a safetensors file.

    Raises:
        CheckpointError: not a complete safetensors file, or tensors of unsupported dtype.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
                raise CheckpointError(f"{path} is not a complete safetensors file")
            header = json.loads(file.read(length))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a broken header: download it again") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has a broken header: download it again")
    header.pop("__metadata__", None)
    base = 8 + length
    return {name: _read_entry(path, name, entry, base, size) for name, entry in header.items()}


def _read_entry(path: Path, name: str, entry: Any, base: int, size: int) -> Stored:
    broken = CheckpointError(f"{path}: the entry of {name} is broken: download the file again")
    if not isinstance(entry, dict):
        raise broken
    dtype, shape, span = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not (_naturals(shape) and _naturals(span) and len(span) == 2):
        raise broken
    if dtype not in _ITEM_BYTES:
        raise CheckpointError(
            f"{path}: {name} is stored as {dtype}: give the unquantized checkpoint (F32, F16, BF16)"
        )
    start, stop = span
    if stop - start != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise broken
    if base + stop > size:
        raise CheckpointError(f"{path} is truncated at {name}: download it again")
    return Stored(path, dtype, tuple(shape), base + start)


def _naturals(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(i) is int and 0 <= i < 1 << 48 for i in value)
