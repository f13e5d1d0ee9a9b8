"""Tensors of safetensors files, read row by row as float32.

Plain reads, rather than a memory map, keep the pages of a many-gigabyte checkpoint out of this
process's resident memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import CheckpointError

Array: TypeAlias = NDArray[np.float32]

ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a number, by the dtypes that are read."""
_CHUNK_BYTES = 16 << 20
_BF16_EXPONENT = np.uint16(0x7F80)


class Tensor(Protocol):
    """One float tensor that is read in pieces."""

    @property
    def name(self) -> str:
        """Its name, for messages."""
        ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def rows(self, start: int, stop: int) -> Array:
        """float32 copy of rows [start, stop) of the first axis.

        Raises:
            CheckpointError: it cannot be read, or a number is NaN or infinite.
        """
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
    """A tensor in a file.

    Attributes:
        name: as the file has it.
        dtype: "F32", "F16" or "BF16".
        offset: of its first byte in the file.
    """

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def rows(self, start: int, stop: int) -> Array:
        """float32 copy of rows [start, stop); see `Tensor`."""
        if self.dtype == "BF16":
            bits = self.bf16_rows(start, stop)
            return (bits.astype(np.uint32) << 16).view(np.float32)
        raw = self._read(start, stop, "<f4" if self.dtype == "F32" else "<f2")
        return finite(raw.astype(np.float32, copy=False), self.name)

    def bf16_rows(self, start: int, stop: int) -> NDArray[np.uint16]:
        """The bits of rows [start, stop) of a BF16 tensor.

        Raises:
            CheckpointError: it cannot be read, or a number is NaN or infinite.
        """
        bits: NDArray[np.uint16] = self._read(start, stop, "<u2")
        # NaN and infinity have every bit of the exponent set.
        if ((bits & _BF16_EXPONENT) == _BF16_EXPONENT).any():
            raise _not_finite(self.name)
        return bits

    def raw(self) -> Iterator[memoryview]:
        """The tensor's bytes as the file has them, some 16 MiB at a time.

        Raises:
            CheckpointError: it cannot be read.
        """
        row = max(1, math.prod(self.shape[1:]) * ITEM_BYTES[self.dtype])
        step = max(1, _CHUNK_BYTES // row)
        kind = f"<u{ITEM_BYTES[self.dtype]}"
        for start in range(0, self.shape[0], step):
            yield self._read(start, min(start + step, self.shape[0]), kind).data.cast("B")

    def _read(self, start: int, stop: int, dtype: str) -> NDArray[Any]:
        row = math.prod(self.shape[1:])
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset + start * row * ITEM_BYTES[self.dtype])
                raw: NDArray[Any] = np.fromfile(file, dtype=dtype, count=(stop - start) * row)
        except OSError as error:
            raise CheckpointError(
                f"{self.path} cannot be read: {error.strerror or error}"
            ) from error
        if raw.size != (stop - start) * row:
            raise CheckpointError(f"{self.path} is truncated: download it again")
        return raw.reshape(stop - start, *self.shape[1:])


def finite(array: Array, name: str) -> Array:
    """The array itself.

    Raises:
        CheckpointError: a number of the tensor `name` is NaN or infinite.
    """
    # Extremes need no temporary array, and are NaN where any number is.
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise _not_finite(name)
    return array


def narrow(array: Array, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """The array in another float format.

    Raises:
        CheckpointError: a number of the tensor `name` overflows in that format.
    """
    with np.errstate(over="ignore"):
        narrowed = np.ascontiguousarray(array, dtype=dtype)
    if dtype == np.float16 and not np.isfinite(narrowed).all():
        raise CheckpointError(f"{name} overflows in fp16: export it in bf16 or fp32")
    return narrowed


def _not_finite(name: str) -> CheckpointError:
    return CheckpointError(
        f"{name} holds NaN or infinite numbers: the checkpoint is damaged, download or train it "
        "again"
    )
