"""Weights on their way to disk: one piece of some 16 MiB in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.tensorfile import Tensor, chunks

# onnxruntime maps weights that start on a page of their own.
_ALIGNMENT = 4096

Written = Callable[[int], None]
"""Told of each piece: how many numbers it held."""


@dataclass(frozen=True, slots=True)
class Location:
    """A matrix in a file of the bundle: file name, byte offset, length in bytes, shape."""

    file: str
    offset: int
    length: int
    shape: tuple[int, ...]


class WeightFile:
    """A file of matrices, written one after another. A context manager."""

    def __init__(self, path: Path, dtype: np.dtype[Any], written: Written) -> None:
        self._file = path.open("wb")
        self._name = path.name
        self._dtype = dtype
        self._written = written

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, parts: Sequence[Tensor], shape: tuple[int, ...]) -> Location:
        """Append tensors, joined along their first axis, as one matrix of `shape`."""
        offset = -(-self._file.tell() // _ALIGNMENT) * _ALIGNMENT
        self._file.write(b"\0" * (offset - self._file.tell()))
        for part in parts:
            for piece in chunks(part):
                write_array(self._file, piece, self._dtype)
                self._written(piece.size)
        length = math.prod(shape) * self._dtype.itemsize
        return Location(self._name, offset, length, shape)


def write_array(file: BinaryIO, array: NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Write an array's numbers. (numpy's own `tofile` hides why a write failed.)"""
    # As bytes: bfloat16 is no type that a buffer can have.
    file.write(np.ascontiguousarray(array, dtype=dtype).reshape(-1).view(np.uint8).data)


def write_npy(path: Path, tensor: Tensor, dtype: np.dtype[Any], written: Written) -> Location:
    """Write a matrix as a `.npy` file, which a device maps into memory with numpy alone."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": tensor.shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        for piece in chunks(tensor):
            write_array(file, piece, dtype)
            written(piece.size)
    length = math.prod(tensor.shape) * dtype.itemsize
    return Location(path.name, offset, length, tensor.shape)
