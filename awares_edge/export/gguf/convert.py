"""Tensor data on its way into a file: pieces of the source in the file's number format."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.tensorfile import Stored, Weights
from awares_edge.errors import ExportError
from awares_edge.export.gguf.layout import Kind, Planned

_PIECE_NUMBERS = 1 << 20
_Q8_BLOCK = 32
# Small enough to stay in a core's cache.
_CACHED_NUMBERS = 1 << 18
# Exponents: bf16 has a bias of 127 and 7 bits after it, f16 one of 15 and 10 bits.
_BF16_EXPONENT_SHIFT = np.uint16((127 - 15) << 7)
_BF16_SMALL = np.uint16((127 - 14) << 7)
_BF16_TOO_LARGE = (127 + 16) << 7


def stored_bytes(planned: Planned) -> int:
    """Bytes that a tensor takes in the file."""
    numbers = math.prod(planned.shape)
    if planned.kind == "q8_0":
        return numbers // _Q8_BLOCK * (_Q8_BLOCK + 2)
    return numbers * (4 if planned.kind == "f32" else 2)


def pieces(weights: Weights, planned: Planned) -> Iterator[NDArray[Any]]:
    """The tensor's data, some 16 MB at a time, ready to be written as it is."""
    tensor = weights.tensor(planned.source)
    count = planned.shape[0]
    row = math.prod(tensor.shape[1:])
    step = max(1, _PIECE_NUMBERS // row)
    for start in range(planned.start, planned.start + count, step):
        stop = min(start + step, planned.start + count)
        if planned.frame is None and isinstance(tensor, Stored) and tensor.dtype == "BF16":
            yield _from_bf16(tensor.bf16_rows(start, stop), planned.kind, planned.source)
            continue
        rows = tensor.rows(start, stop)
        if planned.frame is not None:
            rows = rows[:, :, planned.frame]
        yield encode(rows, planned.kind, planned.source)


def encode(numbers: NDArray[np.float32], kind: Kind, name: str) -> NDArray[Any]:
    """float32 numbers in a file's format: float32, float16, uint16 (bf16), or q8_0 bytes."""
    numbers = np.ascontiguousarray(numbers, dtype=np.float32)
    if kind == "f32":
        return numbers
    if kind == "bf16":
        return to_bf16(numbers)
    if kind == "q8_0":
        from gguf import GGMLQuantizationType, quantize

        blocks: NDArray[Any] = quantize(numbers, GGMLQuantizationType.Q8_0)
        return blocks
    with np.errstate(over="ignore"):
        half = numbers.astype(np.float16)
    if not np.isfinite(half).all():
        raise _too_large(name)
    return half


def to_bf16(numbers: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to nearest, ties to even; NaN stays NaN."""
    bits = numbers.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    if (nan := np.isnan(numbers)).any():
        rounded[nan] = (bits[nan] >> 16) | 0x40
    return rounded.astype(np.uint16)


def _from_bf16(raw: NDArray[np.uint16], kind: Kind, name: str) -> NDArray[Any]:
    """bf16 bits in another format, without a detour over float32 where a table is enough."""
    if kind == "bf16":
        return raw
    if kind == "f16":
        return half_from_bf16(raw, name)
    numbers = (raw.astype(np.uint32) << 16).view(np.float32)
    return encode(numbers, kind, name)


def half_from_bf16(raw: NDArray[np.uint16], name: str) -> NDArray[np.float16]:
    """bf16 bits as float16.

    Between 2**-14 and 65504 both formats differ only in the width of their fields: a subtraction
    and a shift, four times as fast as a cast by way of float32. Smaller numbers, of which there
    are few, are looked up.

    Raises:
        ExportError: a number is too large.
    """
    table = _half_of_bf16().view(np.uint16)
    flat = raw.reshape(-1)
    out = np.empty(flat.size, dtype=np.uint16)
    for start in range(0, flat.size, _CACHED_NUMBERS):
        bits = flat[start : start + _CACHED_NUMBERS]
        half = out[start : start + _CACHED_NUMBERS]
        magnitude = bits & 0x7FFF
        if int(magnitude.max()) >= _BF16_TOO_LARGE:
            raise _too_large(name)
        np.subtract(magnitude, _BF16_EXPONENT_SHIFT, out=half)
        np.left_shift(half, 3, out=half)
        half |= bits & 0x8000
        small = np.flatnonzero(magnitude < _BF16_SMALL)
        half[small] = table[bits[small]]
    return out.view(np.float16).reshape(raw.shape)


@lru_cache(maxsize=1)
def _half_of_bf16() -> NDArray[np.float16]:
    """float16 of each of the 65,536 bf16 bit patterns."""
    numbers = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    with np.errstate(all="ignore"):
        return numbers.astype(np.float16)


def _too_large(name: str) -> ExportError:
    return ExportError(f"{name} has numbers that f16 cannot hold: export it with bf16 or f32")
