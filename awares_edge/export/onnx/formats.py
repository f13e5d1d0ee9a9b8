"""Weight formats that only ONNX Runtime's own operators multiply by.

Both keep their numbers as they are stored: onnxruntime packs them for the CPU when it loads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from awares_edge.checkpoint.tensorfile import Array
from awares_edge.export.graph.builder import Builder
from awares_edge.export.graph.quantize import onnx_dtype, scale_rows, to_integers
from awares_edge.export.graph.weights import FP32, Matrix, Rounding, TensorType
from awares_edge.export.hessians import Hessian
from awares_edge.export.onnx.blocks import fit_int4
from awares_edge.export.onnx.gptq import compensation, one_blas_thread, quantize
from awares_edge.runtimes.threads import cores

_MICROSOFT = "com.microsoft"
_INT8_COMPUTE = 4
"""`accuracy_level` of MatMulNBits: the input is quantized to int8, block by block."""
_UINT8_LEVELS = 127.5
"""Steps of a uint8 input on each side of zero, where its range is about symmetric."""
_INT8_LEVELS = 127

_FIT_NUMBERS = 1 << 18
"""Weights that are fitted at a time: what the fit needs then stays in the CPU's cache."""
_GPTQ_ROWS = 512
"""Rows that GPTQ takes at a time: numpy is slow with short vectors."""

Rounded: TypeAlias = tuple[NDArray[np.int8], NDArray[np.float32]]
"""4-bit numbers [n, in] and scales [n, in / block] of rows."""


@dataclass(frozen=True, slots=True)
class DynamicInt8:
    """int8 weights, one scale per output channel; the input is quantized at run time, to uint8 with
    one scale per call. Stored transposed, [in, out], scales [out].

    Attributes:
        limit: largest stored magnitude. On an x86 CPU without VNNI, a uint8 by int8 product adds
            pairs in 16 bits, which overflows beyond 64: there onnxruntime converts the weights to
            uint8 (slower), unless they are within 64.
    """

    limit: int = 127

    @property
    def reads(self) -> np.dtype[Any]:
        return FP32

    @property
    def rounding(self) -> Rounding:
        return Rounding(self.limit, input_levels=_UINT8_LEVELS)

    @property
    def _suffix(self) -> str:
        return ":int8" if self.limit == 127 else f":int8.{self.limit}"

    def tensors(self, shape: tuple[int, int]) -> dict[str, TensorType]:
        out, inner = shape
        return {
            self._suffix: TensorType((inner, out), TensorProto.INT8),
            f"{self._suffix}.scale": TensorType((out,), onnx_dtype(FP32)),
        }

    def encode(
        self, rows: Iterator[NDArray[Any]], shape: tuple[int, int]
    ) -> Iterator[Iterable[NDArray[Any]]]:
        """Holds the matrix in memory, at one byte a number, to transpose it."""
        out, inner = shape
        values = np.empty((inner, out), dtype=np.int8)
        scales = np.empty(out, dtype=FP32)
        start = 0
        for piece in rows:
            stop = start + len(piece)
            steps, scales[start:stop] = scale_rows(piece, FP32, self.limit)
            values[:, start:stop] = to_integers(steps, -self.limit, self.limit).T
            start = stop
        yield [values]
        yield [scales]

    def round_trip(self, rows: Array) -> Array:
        """Rows float32 [n, in] as they are after they were stored."""
        steps, scales = scale_rows(rows, FP32, self.limit)
        found: Array = to_integers(steps, -self.limit, self.limit) * scales[:, None]
        return found

    def multiply(
        self, graph: Builder, value: str, matrix: Matrix, bias: str | None, dtype: np.dtype[Any]
    ) -> str:
        del dtype  # graphs of this format compute in fp32
        inputs = (value, *graph.matrix(matrix, self), *(("", bias) if bias else ()))
        return graph.op("DynamicQuantizeMatMul", *inputs, domain=_MICROSOFT)


@dataclass(frozen=True, slots=True)
class StaticInt8(DynamicInt8):
    """int8 weights, one scale per output channel, and uint8 inputs over a fixed symmetric range, in
    ONNX's own operators: QuantizeLinear and DequantizeLinear around a Gemm (QDQ).

    onnxruntime 1.32 makes a QuantizeLinear and a QGemm of them on a CPU, and packs the weights.
    Inputs are uint8 because its products of int8 by int8 are some 20 times slower on x86. Weights
    are stored as for `DynamicInt8`: it would transpose [out, in] in memory when it loads them.

    Attributes:
        input_range: largest magnitude of the layer's input; None as long as it is not known.
    """

    input_range: float | None = None

    @property
    def rounding(self) -> Rounding:
        return Rounding(self.limit, input_levels=_INT8_LEVELS)

    def multiply(
        self, graph: Builder, value: str, matrix: Matrix, bias: str | None, dtype: np.dtype[Any]
    ) -> str:
        del dtype  # graphs of this format compute in fp32
        assert self.input_range is not None, "inputs are quantized over a measured range"
        step = graph.scalar(self.input_range / _INT8_LEVELS, FP32)
        middle = graph.constant("middle:uint8", np.array(128, dtype=np.uint8))
        # Gate and up read the same input, over the same range.
        value = graph.once("QuantizeLinear", value, step, middle)
        value = graph.once("DequantizeLinear", value, step, middle)
        # onnxruntime fuses only weights that have zero points, of their own where it converts them
        # for a CPU without VNNI, and no product with a float bias.
        name = f"{matrix.name}{self._suffix}.zero"
        zeros = graph.constant(name, np.zeros(matrix.shape[0], dtype=np.int8))
        weight = graph.op("DequantizeLinear", *graph.matrix(matrix, self), zeros, axis=1)
        product = graph.op("Gemm", value, weight)
        return product if bias is None else graph.op("Add", product, bias)


@dataclass(frozen=True, slots=True)
class BlockInt4:
    """4-bit weights with one scale per block of inputs: stored [out, in / block, block / 2], two
    numbers a byte, the first in the low half, offset by 8; scales [out, in / block].

    Attributes:
        block: inputs of a block, a divisor of `in`.
        hessian: of the matrix's inputs: its numbers are chosen by GPTQ. None: block by block.
    """

    block: int
    hessian: Hessian | None = field(default=None, compare=False)

    @property
    def reads(self) -> np.dtype[Any]:
        return FP32

    @property
    def rounding(self) -> Rounding:
        return Rounding(8, self.block, input_levels=127, input_block=self.block)

    @property
    def _suffix(self) -> str:
        return f":int4.{self.block}"

    def tensors(self, shape: tuple[int, int]) -> dict[str, TensorType]:
        out, blocks = shape[0], shape[1] // self.block
        return {
            self._suffix: TensorType((out, blocks, self.block // 2), TensorProto.UINT8),
            f"{self._suffix}.scale": TensorType((out, blocks), onnx_dtype(FP32)),
        }

    def encode(
        self, rows: Iterator[NDArray[Any]], shape: tuple[int, int]
    ) -> Iterator[Iterable[NDArray[Any]]]:
        scales: list[NDArray[Any]] = []
        yield self._values(self._rounded(rows, shape[1]), scales)
        yield scales

    def _values(
        self, rounded: Iterator[Rounded], scales: list[NDArray[Any]]
    ) -> Iterator[NDArray[np.uint8]]:
        """Numbers [n, in / block, block / 2] as they are stored."""
        for values, scale in rounded:
            scales.append(scale)
            nibbles = (values + np.int8(8)).view(np.uint8)
            packed = nibbles[:, 0::2] | np.left_shift(nibbles[:, 1::2], np.uint8(4))
            yield packed.reshape(len(values), -1, self.block // 2)

    def _rounded(self, pieces: Iterable[Array], inner: int) -> Iterator[Rounded]:
        """Pieces of rows rounded, in order."""
        fit, step = partial(_fit, self.block), max(1, _FIT_NUMBERS // inner)
        limits: AbstractContextManager[object] = nullcontext()
        if self.hessian is not None:
            limits = one_blas_thread()
            upper = compensation(self.hessian).astype(np.float32)
            fit, step = partial(quantize, compensate=upper, block=self.block), _GPTQ_ROWS
        # numpy lets go of the interpreter's lock: threads compute at the same time.
        with limits, ThreadPoolExecutor(cores()) as pool:
            for piece in pieces:
                parts = [piece[start : start + step] for start in range(0, len(piece), step)]
                yield from pool.map(fit, parts)

    def round_trip(self, rows: Array) -> Array:
        """Rows float32 [n, in] as they are after they were stored."""
        parts = [
            (values.reshape(*scales.shape, self.block) * scales[..., None]).reshape(values.shape)
            for values, scales in self._rounded([rows], rows.shape[1])
        ]
        return np.concatenate(parts)

    def multiply(
        self, graph: Builder, value: str, matrix: Matrix, bias: str | None, dtype: np.dtype[Any]
    ) -> str:
        out, inner = matrix.shape
        values, scales = graph.matrix(matrix, self)
        if dtype != FP32:
            scales = graph.cast(scales, dtype)  # must have the input's dtype
        inputs = (value, values, scales, *(("", "", bias) if bias else ()))
        return graph.op(
            "MatMulNBits",
            *inputs,
            domain=_MICROSOFT,
            K=inner,
            N=out,
            bits=4,
            block_size=self.block,
            accuracy_level=_INT8_COMPUTE,
        )


def _fit(block: int, rows: Array) -> Rounded:
    """Numbers [n, in] and scales [n, in / block] of rows, each block by itself."""
    values, scales = fit_int4(rows.reshape(-1, block))
    return values.reshape(rows.shape), scales.reshape(len(rows), -1)
