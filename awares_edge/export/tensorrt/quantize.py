"""Symmetric weight quantization while matrices stream by, and the file that holds the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.tensorfile import Array, Tensor, chunks
from awares_edge.export.onnx.graph import StoredWeight
from awares_edge.export.onnx.weights import Location, WeightFile, write_array
from awares_edge.export.tensorrt.formats import WeightKind

INT4_BLOCKS = (128, 64, 32)
FP8_LIMIT = 448.0
"""The largest E4M3 number."""

_ALIGNMENT = 4096


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """A matrix to store quantized, and its scales.

    Attributes:
        source: the float matrix [out, in].
        kind: int8 or fp8 with one scale per output channel, stored [out, in] with scales [out];
            or int4 in blocks of this many inputs, stored transposed as [in, out] with scales
            [in / block, out]: the right-hand side of a matrix product, as NVIDIA's own tool has it.
        block: inputs of a block at int4, else 0.
        scale_dtype: of the scales, which is also the dtype the graph dequantizes to.
    """

    source: StoredWeight
    kind: WeightKind
    block: int
    scale_dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        return f"{self.source.name}:{self.kind}"

    @property
    def scale_name(self) -> str:
        return f"{self.name}.scale"

    @property
    def shape(self) -> tuple[int, ...]:
        out, inner = self.source.shape
        return (inner, out) if self.block else (out, inner)

    @property
    def scale_shape(self) -> tuple[int, ...]:
        out, inner = self.source.shape
        return (inner // self.block, out) if self.block else (out,)

    @property
    def onnx_type(self) -> int:
        kinds = {
            "int4": TensorProto.INT4,
            "int8": TensorProto.INT8,
            "fp8": TensorProto.FLOAT8E4M3FN,
        }
        return int(kinds[self.kind])


def int4_block(inner: int) -> int:
    """The largest supported block that divides a row of `inner` numbers; 0 where none does."""
    return next((block for block in INT4_BLOCKS if inner % block == 0), 0)


def quantize_rows(
    rows: Array, scale_dtype: np.dtype[Any], limit: int = 127
) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """Round each row to whole multiples of its own scale.

    Args:
        rows: float32 [n, k].
        scale_dtype: the scale is rounded to this first, so that no error of it adds up.
        limit: largest magnitude of a quantized number.

    Returns:
        int8 [n, k], and scales [n].
    """
    scale = (np.abs(rows).max(axis=1) / limit).astype(scale_dtype)
    # A row of zeros, or of numbers below the format's smallest scale, becomes zeros.
    scale = np.where(scale.astype(np.float32) > 0, scale, np.ones_like(scale)).astype(scale_dtype)
    steps = np.rint(rows / scale.astype(np.float32)[:, None])
    return np.clip(steps, -limit - (limit == 7), limit).astype(np.int8), scale


def quantize_rows_fp8(rows: Array, scale_dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Round each row to fp8 (E4M3) multiples of its own scale; see `quantize_rows`."""
    import ml_dtypes

    scale = (np.abs(rows).max(axis=1) / FP8_LIMIT).astype(scale_dtype)
    scale = np.where(scale.astype(np.float32) > 0, scale, np.ones_like(scale)).astype(scale_dtype)
    steps = np.clip(rows / scale.astype(np.float32)[:, None], -FP8_LIMIT, FP8_LIMIT)
    return steps.astype(ml_dtypes.float8_e4m3fn), scale


def pack_int4(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Two numbers a byte, the first in the low half, as ONNX stores them."""
    nibbles = values.reshape(-1).view(np.uint8) & np.uint8(15)
    flat: NDArray[np.uint8] = np.append(nibbles, np.zeros(nibbles.size % 2, dtype=np.uint8))
    packed: NDArray[np.uint8] = flat[0::2] | np.left_shift(flat[1::2], np.uint8(4))
    return packed


class TensorrtWeightFile(WeightFile):
    """A weight file that takes quantized matrices as well."""

    def __enter__(self) -> TensorrtWeightFile:
        return self

    def write_quantized(self, weight: QuantizedWeight) -> dict[str, Location]:
        """Quantize a matrix and append it and its scales.

        int8 and fp8 stream by; int4 is held in memory at one byte a number, to be transposed.
        """
        if weight.block:
            values, scales = _int4(weight)
            place = self._append([pack_int4(values)], weight.shape)
            self._count(weight, values.size)
        else:
            scales = np.empty(weight.scale_shape, dtype=weight.scale_dtype)
            place = self._append(self._by_channel(weight, scales), weight.shape)
        return {weight.name: place, weight.scale_name: self._append([scales], weight.scale_shape)}

    def _by_channel(self, weight: QuantizedWeight, scales: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Quantized pieces of a matrix; fills in `scales` on the way."""
        rounded = quantize_rows_fp8 if weight.kind == "fp8" else quantize_rows
        start = 0
        for piece in _pieces(weight.source.parts):
            values, scale = rounded(piece, weight.scale_dtype)
            scales[start : start + len(scale)] = scale
            start += len(scale)
            yield values
            self._count(weight, values.size)

    def _count(self, weight: QuantizedWeight, numbers: int) -> None:
        # A tied head's numbers were counted as those of the embedding.
        if weight.source.name != EMBEDDING:
            self._written(numbers)

    def _append(self, pieces: Iterable[NDArray[Any]], shape: tuple[int, ...]) -> Location:
        offset = -(-self._file.tell() // _ALIGNMENT) * _ALIGNMENT
        self._file.write(b"\0" * (offset - self._file.tell()))
        for piece in pieces:
            write_array(self._file, piece, piece.dtype)
        return Location(self._name, offset, self._file.tell() - offset, shape)


def _pieces(parts: tuple[Tensor, ...]) -> Iterator[Array]:
    for part in parts:
        for piece in chunks(part):
            yield piece.reshape(piece.shape[0], -1)


def _int4(weight: QuantizedWeight) -> tuple[NDArray[np.int8], NDArray[Any]]:
    out, inner = weight.source.shape
    values = np.empty((inner, out), dtype=np.int8)
    scales = np.empty(weight.scale_shape, dtype=weight.scale_dtype)
    start = 0
    for piece in _pieces(weight.source.parts):
        count = piece.shape[0]
        blocks = piece.reshape(-1, weight.block)
        steps, scale = quantize_rows(blocks, weight.scale_dtype, limit=7)
        stop = start + count
        values[:, start:stop] = steps.reshape(count, inner).T
        scales[:, start:stop] = scale.reshape(count, -1).T
        start = stop
    return values, scales


def stored_bytes(shape: tuple[int, ...], block: int, scale_bytes: int) -> int:
    """Bytes of an [out, in] matrix and its scales once quantized."""
    out, inner = shape
    if block:
        return math.ceil(out * inner / 2) + out * inner // block * scale_bytes
    return out * inner + out * scale_bytes
