"""Weights on their way to disk: one piece of about 16 MiB in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.tensorfile import Array, Tensor, Weights, chunks

if TYPE_CHECKING:
    from awares_edge.export.graph.builder import Builder

# onnxruntime maps weights that start on a page of their own.
_ALIGNMENT = 4096

FP32: np.dtype[Any] = np.dtype(np.float32)
FP16: np.dtype[Any] = np.dtype(np.float16)

Written = Callable[[int], None]
"""Called with the count of numbers in each piece after it is written."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix [out, in] of the checkpoint: tensors joined along their first axis."""

    name: str
    parts: tuple[Tensor, ...]
    shape: tuple[int, int]

    @classmethod
    def of(cls, weights: Weights, *names: str) -> Matrix:
        parts = tuple(weights.tensor(name) for name in names)
        shape = (sum(part.shape[0] for part in parts), math.prod(parts[0].shape[1:]))
        return cls("+".join(names), parts, shape)

    def rows(self, dtype: np.dtype[Any] = FP32) -> Iterator[NDArray[Any]]:
        """Pieces [n, in] of the matrix, in order."""
        for part in self.parts:
            for piece in read(part, dtype):
                yield piece.reshape(-1, self.shape[1])


def read(tensor: Tensor, dtype: np.dtype[Any] = FP32) -> Iterator[NDArray[Any]]:
    """Pieces of a tensor, converted to `dtype`.

    Every number of a checkpoint passes here once on its way into a graph: matrices, biases, norms
    and the embedding.
    """
    for piece in chunks(tensor):
        yield _convert(piece, dtype)


def _convert(piece: Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(piece, dtype=dtype)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a tensor lies: name of a file in the bundle's folder, offset and length in bytes."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and element type (`onnx.TensorProto.DataType`) of a stored tensor."""

    shape: tuple[int, ...]
    dtype: int

    @property
    def size(self) -> int:
        """Bytes in a file."""
        count = math.prod(self.shape)
        if self.dtype == TensorProto.INT4:
            return -(-count // 2)
        return count * int(helper.tensor_dtype_to_np_dtype(self.dtype).itemsize)


class WeightFormat(Protocol):
    """How a matrix [out, in] is stored, and how a graph multiplies by it.

    A new format is one class with these members, for every dialect.

    Attributes:
        reads: dtype of the rows that `encode` takes.
    """

    @property
    def reads(self) -> np.dtype[Any]: ...

    def tensors(self, shape: tuple[int, int]) -> dict[str, TensorType]:
        """What is stored of a matrix of this shape, by the suffix of each tensor's name, in the
        order in which `encode` yields them."""
        ...

    def encode(
        self, rows: Iterator[NDArray[Any]], shape: tuple[int, int]
    ) -> Iterator[Iterable[NDArray[Any]]]:
        """The stored tensors, each as pieces; each is used up before the next is asked for.

        Args:
            rows: pieces [n, in] of the matrix in dtype `reads`.
        """
        ...

    def multiply(
        self, graph: Builder, value: str, matrix: Matrix, bias: str | None, dtype: np.dtype[Any]
    ) -> str:
        """Add nodes for value [N, in] times the matrix's transpose, plus `bias` [out].

        Args:
            dtype: of `value`, of `bias` and of the result.

        Returns:
            the name of the result.
        """
        ...


class WeightFile:
    """A file of tensors, written one after another. A context manager."""

    def __init__(self, path: Path, written: Written) -> None:
        self._file = path.open("wb")
        self._name = path.name
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

    def write(self, matrix: Matrix, fmt: WeightFormat) -> dict[str, Location]:
        """Append a matrix in a weight format; where each of its tensors lies, by name."""
        encoded = fmt.encode(self._rows(matrix, fmt.reads), matrix.shape)
        names = [matrix.name + suffix for suffix in fmt.tensors(matrix.shape)]
        return {name: self._append(pieces) for name, pieces in zip(names, encoded, strict=True)}

    def _rows(self, matrix: Matrix, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        for piece in matrix.rows(dtype):
            yield piece
            # A tied head's numbers were counted as those of the embedding.
            if matrix.name != EMBEDDING:
                self._written(piece.size)

    def _append(self, pieces: Iterable[NDArray[Any]]) -> Location:
        offset = -(-self._file.tell() // _ALIGNMENT) * _ALIGNMENT
        self._file.write(b"\0" * (offset - self._file.tell()))
        for piece in pieces:
            write_array(self._file, piece)
        return Location(self._name, offset, self._file.tell() - offset)


def write_array(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array's numbers. (numpy's own `tofile` hides why a write failed.)"""
    # As bytes: the buffer protocol has no bfloat16.
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


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
        for piece in read(tensor, dtype):
            write_array(file, piece)
            written(piece.size)
        length = file.tell() - offset
    return Location(path.name, offset, length)
