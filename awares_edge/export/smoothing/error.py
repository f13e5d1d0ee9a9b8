"""How much a product loses when its weights and inputs are rounded, predicted from statistics.

Rounding errors are taken as uniform and independent (step / sqrt(12)), inputs as independent
channels of their measured size. That orders scales and finds layers that lose too much; it does not
replace a comparison of decisions (`awares-edge parity`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.tensorfile import Array
from awares_edge.export.graph.weights import Matrix, Rounding
from awares_edge.export.measured import Inputs

_SAMPLED_ROWS = 512
_TINY = 1e-30


@dataclass(frozen=True)
class Columns:
    """What is known of a matrix, from one pass over it.

    Attributes:
        peak: [in] largest magnitude of each column.
        energy: [in] mean square of each column.
        sample: [rows, in] some of its rows.
    """

    peak: Array
    energy: NDArray[np.float64]
    sample: Array

    @classmethod
    def of(cls, matrix: Matrix) -> Columns:
        """Read a matrix once, piece by piece."""
        out, inner = matrix.shape
        peak = np.zeros(inner, dtype=np.float32)
        energy = np.zeros(inner, dtype=np.float64)
        stride, start = max(1, out // _SAMPLED_ROWS), 0
        sample = []
        for piece in matrix.rows():
            peak = np.maximum(peak, np.abs(piece).max(axis=0))
            energy += np.einsum("ij,ij->j", piece, piece)
            sample.append(piece[-start % stride :: stride].copy())
            start += len(piece)
        return cls(peak, energy / out, np.concatenate(sample))


def relative_error(columns: Columns, inputs: Inputs, rounding: Rounding, scales: Array) -> float:
    """Predicted norm of the error of a product over the norm of the product.

    Args:
        scales: [in], what each input channel is divided by and each column multiplied by.
    """
    wide = scales.astype(np.float64)
    # Of a typical token: a mean square would be that of the few tokens with huge values.
    power = np.square(inputs.mean / wide)
    energy = columns.energy * wide**2
    weights = np.abs(columns.sample) * scales
    by_weight = _noise(weights, np.square(weights), rounding.levels, rounding.block)
    noise = float((by_weight @ power).mean())
    if rounding.input_levels is not None:
        largest = inputs.largest / wide
        if rounding.input_block:
            # Each token has its own step: a typical token's largest number is below all tokens'.
            largest = np.sqrt(largest * inputs.mean / wide)
        noise += float(_noise(largest, power, rounding.input_levels, rounding.input_block) @ energy)
    return float(np.sqrt(noise / (float(power @ energy) + _TINY)))


def _noise(
    most: NDArray[np.floating], power: NDArray[np.floating], levels: float, block: int
) -> NDArray[np.floating]:
    """Mean squared error of numbers that share a step with their block.

    Args:
        most: [..., n], largest magnitude of each number.
        power: [..., n], mean square of each.
        block: numbers along the last axis that share a step; 0 for all.
    """
    count = most.shape[-1]
    blocks = most.reshape(*most.shape[:-1], -1, block or count)
    steps = np.repeat(blocks.max(axis=-1), block or count, axis=-1) / levels
    # Numbers far below a step become zero: their error is their own power, not the step's.
    noise: NDArray[np.floating] = np.minimum(np.square(steps) / 12, power)
    return noise
