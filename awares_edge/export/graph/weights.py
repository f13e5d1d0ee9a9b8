"""Weights on their way to disk: one piece of about 16 MiB in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.tensorfile import Tensor, Weights, chunks, narrow

if TYPE_CHECKING:
    from awares_edge.export.graph.builder import Builder

# onnxruntime maps weights that start at a page boundary.
ALIGNMENT = 4096

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

    Every number of a checkpoint passes here on its way into a graph: matrices, biases, norms and
    the embedding.

    Raises:
        CheckpointError: a number is NaN or infinite, or overflows in `dtype`.
    """
    for piece in chunks(tensor):
        yield narrow(piece, dtype, tensor.name)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a tensor is stored: a file in the bundle's folder, offset and length in bytes."""

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


@dataclass(frozen=True, slots=True)
class Rounding:
    """How coarsely a format rounds a product's weights and inputs.

    Attributes:
        levels: steps from 0 to the largest magnitude of a block of weights.
        block: inputs that share a step in each row; 0 for the whole row.
        input_levels: steps from 0 to the largest magnitude of the inputs; None where they stay
            float.
        input_block: inputs of a token that share a step; 0 where all tokens share one.
    """

    levels: float
    block: int = 0
    input_levels: float | None = None
    input_block: int = 0


class WeightFormat(Protocol):
    """How a matrix [out, in] is stored, and how a graph multiplies by it.

    A new format is one class with these members, for every dialect.

    Attributes:
        reads: dtype of the rows that `encode` takes.
        rounding: how it rounds; None for a float format.
    """

    @property
    def reads(self) -> np.dtype[Any]: ...

    @property
    def rounding(self) -> Rounding | None: ...

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


def write_matrices(
    path: Path,
    matrices: Iterable[tuple[Matrix, WeightFormat]],
    written: Written,
    known: Mapping[str, Location],
) -> dict[str, Location]:
    """Write matrices to a file, one after another.

    Args:
        known: tensors that a file of the bundle has already, by name; they are not written again.

    Returns:
        `known`, and where each written tensor is stored.
    """
    places = dict(known)
    # A tied head's numbers were counted with the embedding's; a matrix that is stored in two
    # formats is counted once.
    counted = {EMBEDDING}
    with path.open("wb") as file:
        for matrix, fmt in matrices:
            names = [matrix.name + suffix for suffix in fmt.tensors(matrix.shape)]
            if names[0] in places:
                continue
            rows = matrix.rows(fmt.reads)
            if matrix.name not in counted:
                rows = _counted(rows, written)
                counted.add(matrix.name)
            for name, pieces in zip(names, fmt.encode(rows, matrix.shape), strict=True):
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                places[name] = _write(file, path.name, pieces)
    return places


def write_npy(path: Path, tensor: Tensor, dtype: np.dtype[Any], written: Written) -> Location:
    """Write a matrix as a `.npy` file, which a device maps into memory with only numpy."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": tensor.shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        return _write(file, path.name, _counted(read(tensor, dtype), written))


def write_array(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array's numbers. (numpy's own `tofile` hides why a write failed.)"""
    # As bytes: the buffer protocol has no bfloat16.
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _write(file: BinaryIO, name: str, pieces: Iterable[NDArray[Any]]) -> Location:
    offset = file.tell()
    for piece in pieces:
        write_array(file, piece)
    return Location(name, offset, file.tell() - offset)


def _counted(pieces: Iterator[NDArray[Any]], written: Written) -> Iterator[NDArray[Any]]:
    for piece in pieces:
        yield piece
        written(piece.size)
