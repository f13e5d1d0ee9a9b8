"""Weight formats: how a matrix is stored and multiplied by, one class each.

Quantization is symmetric and happens while the rows stream by. The scales are stored in the dtype
that the graph dequantizes to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from awares_edge.checkpoint.tensorfile import Array
from awares_edge.export.graph.builder import Builder
from awares_edge.export.graph.weights import FP32, Matrix, Rounding, TensorType

INT4_BLOCKS = (128, 64, 32)


@dataclass(frozen=True, slots=True)
class Float:
    """A matrix as it is, in fp32, fp16 or bf16."""

    storage: np.dtype[Any]

    rounding: ClassVar[None] = None

    @property
    def reads(self) -> np.dtype[Any]:
        return self.storage

    def tensors(self, shape: tuple[int, int]) -> dict[str, TensorType]:
        return {"": TensorType(shape, onnx_dtype(self.storage))}

    def encode(
        self, rows: Iterator[NDArray[Any]], shape: tuple[int, int]
    ) -> Iterator[Iterable[NDArray[Any]]]:
        del shape
        yield rows

    def multiply(
        self, graph: Builder, value: str, matrix: Matrix, bias: str | None, dtype: np.dtype[Any]
    ) -> str:
        (name,) = graph.matrix(matrix, self)
        return _gemm(graph, value, _as(graph, name, self.storage, dtype), bias)


@dataclass(frozen=True)
class PerChannel(ABC):
    """A matrix with one scale per output channel: stored [out, in], scales [out].

    Attributes:
        scales: dtype of the scales.
        input_range: largest magnitude of the layer's input, where the input is quantized too;
            None for weight-only quantization.
    """

    scales: np.dtype[Any]
    input_range: float | None = None

    kind: ClassVar[str]
    limit: ClassVar[float]
    element: ClassVar[int]
    reads: ClassVar[np.dtype[Any]] = FP32

    @property
    @abstractmethod
    def rounding(self) -> Rounding | None:
        """How it rounds; None for a float format."""

    @staticmethod
    @abstractmethod
    def round(steps: Array) -> NDArray[Any]:
        """Stored numbers of rows that were divided by their scales."""

    def tensors(self, shape: tuple[int, int]) -> dict[str, TensorType]:
        return {
            f":{self.kind}": TensorType(shape, self.element),
            f":{self.kind}.scale": TensorType(shape[:1], onnx_dtype(self.scales)),
        }

    def encode(
        self, rows: Iterator[NDArray[Any]], shape: tuple[int, int]
    ) -> Iterator[Iterable[NDArray[Any]]]:
        del shape
        scales: list[NDArray[Any]] = []
        yield self._values(rows, scales)
        yield scales

    def _values(
        self, rows: Iterator[NDArray[Any]], scales: list[NDArray[Any]]
    ) -> Iterator[NDArray[Any]]:
        for piece in rows:
            steps, scale = scale_rows(piece, self.scales, self.limit)
            scales.append(scale)
            yield self.round(steps)

    def multiply(
        self, graph: Builder, value: str, matrix: Matrix, bias: str | None, dtype: np.dtype[Any]
    ) -> str:
        if self.input_range is not None:
            value = self._round_trip(graph, value, matrix.name, self.input_range / self.limit)
        weight = graph.op("DequantizeLinear", *graph.matrix(matrix, self), axis=0)
        return _gemm(graph, value, _as(graph, weight, self.scales, dtype), bias)

    def _round_trip(self, graph: Builder, value: str, name: str, step: float) -> str:
        """A layer's input quantized and back, over its measured range: TensorRT makes one quantized
        product of this and the quantized weights."""
        scale = graph.constant(f"{name}:range", np.array(step, dtype=self.scales))
        quantum = helper.tensor_dtype_to_np_dtype(self.element)
        zero = graph.constant(f"zero:{self.kind}", np.zeros((), dtype=quantum))
        quantized = graph.op("QuantizeLinear", value, scale, zero)
        return graph.op("DequantizeLinear", quantized, scale, zero)


class Int8(PerChannel):
    """int8, one scale per output channel."""

    kind, limit, element = "int8", 127, TensorProto.INT8

    @property
    def rounding(self) -> Rounding:
        return Rounding(127, input_levels=None if self.input_range is None else 127)

    @staticmethod
    def round(steps: Array) -> NDArray[Any]:
        return to_integers(steps, -127, 127)


class Fp8(PerChannel):
    """fp8 (E4M3, whose largest number is 448), one scale per output channel."""

    kind, limit, element = "fp8", 448, TensorProto.FLOAT8E4M3FN

    @property
    def rounding(self) -> None:
        """A float format: beside an outlier, numbers still have three bits of mantissa."""

    @staticmethod
    def round(steps: Array) -> NDArray[Any]:
        import ml_dtypes

        return np.clip(steps, -448, 448).astype(ml_dtypes.float8_e4m3fn)


@dataclass(frozen=True, slots=True)
class Int4:
    """int4 with one scale per block of inputs: stored transposed, [in, out], scales
    [in / block, out]. This is the right-hand side of a matrix product, the layout that NVIDIA's
    quantization tool writes.

    Attributes:
        scales: dtype of the scales.
        block: inputs of a block, a divisor of `in`.
    """

    scales: np.dtype[Any]
    block: int

    @property
    def rounding(self) -> Rounding:
        return Rounding(7, self.block)

    @property
    def reads(self) -> np.dtype[Any]:
        return FP32

    def tensors(self, shape: tuple[int, int]) -> dict[str, TensorType]:
        out, inner = shape
        scales = TensorType((inner // self.block, out), onnx_dtype(self.scales))
        return {":int4": TensorType((inner, out), TensorProto.INT4), ":int4.scale": scales}

    def encode(
        self, rows: Iterator[NDArray[Any]], shape: tuple[int, int]
    ) -> Iterator[Iterable[NDArray[Any]]]:
        """Holds the matrix in memory, at one byte a number, to transpose it."""
        out, inner = shape
        values = np.empty((inner, out), dtype=np.int8)
        scales = np.empty((inner // self.block, out), dtype=self.scales)
        start = 0
        for piece in rows:
            stop = start + len(piece)
            steps, scale = scale_rows(piece.reshape(-1, self.block), self.scales, 7)
            values[:, start:stop] = to_integers(steps, -8, 7).reshape(len(piece), inner).T
            scales[:, start:stop] = scale.reshape(len(piece), -1).T
            start = stop
        yield [pack_int4(values)]
        yield [scales]

    def multiply(
        self, graph: Builder, value: str, matrix: Matrix, bias: str | None, dtype: np.dtype[Any]
    ) -> str:
        tensors = graph.matrix(matrix, self)
        weight = graph.op("DequantizeLinear", *tensors, axis=0, block_size=self.block)
        product = graph.op("MatMul", value, _as(graph, weight, self.scales, dtype))
        return product if bias is None else graph.op("Add", product, bias)


def int4_block(inner: int) -> int:
    """The largest supported block that divides a row of `inner` numbers; 0 where none does."""
    return next((block for block in INT4_BLOCKS if inner % block == 0), 0)


def scale_rows(
    rows: Array, dtype: np.dtype[Any], limit: float
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Divide each row by its own scale, so that its largest magnitude becomes `limit` steps.

    Args:
        rows: float32 [n, k].
        dtype: of the scales. They are rounded to it before they are used, so that their error is
            not added to that of the steps.

    Returns:
        steps float32 [n, k], which may exceed `limit` by that rounding; scales [n].
    """
    scale = (np.abs(rows).max(axis=1) / limit).astype(dtype)
    # A row of zeros, or of numbers below the format's smallest scale, becomes zeros.
    scale[scale.astype(np.float32) <= 0] = 1
    return rows / scale.astype(np.float32)[:, None], scale


def to_integers(steps: Array, lowest: int, highest: int) -> NDArray[np.int8]:
    """Steps rounded to the nearest integers within limits."""
    return np.clip(np.rint(steps), lowest, highest).astype(np.int8)


def pack_int4(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Two numbers a byte, the first in the low half, as ONNX stores them."""
    nibbles = values.reshape(-1).view(np.uint8) & np.uint8(15)
    flat: NDArray[np.uint8] = np.append(nibbles, np.zeros(nibbles.size % 2, dtype=np.uint8))
    packed: NDArray[np.uint8] = flat[0::2] | np.left_shift(flat[1::2], np.uint8(4))
    return packed


def onnx_dtype(dtype: np.dtype[Any]) -> int:
    """`onnx.TensorProto.DataType` of a numpy dtype."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def _as(graph: Builder, value: str, dtype: np.dtype[Any], wanted: np.dtype[Any]) -> str:
    """A value of one dtype in another."""
    return value if dtype == wanted else graph.cast(value, wanted)


def _gemm(graph: Builder, value: str, weight: str, bias: str | None) -> str:
    """The weight is [out, in] as the checkpoint has it, so nothing is ever transposed, and a bias
    costs no node."""
    return graph.op("Gemm", value, weight, *([bias] if bias else []), transB=1)
