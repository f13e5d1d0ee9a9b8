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
    typical = np.square(inputs.mean.astype(np.float64))
    signal = float(typical @ columns.energy) + _TINY
    steps = _blocks(np.abs(columns.sample) * scales, rounding.block).max(axis=-1) / rounding.levels
    power = _blocks(typical / wide**2, rounding.block).sum(axis=-1)
    noise = float((np.square(steps, dtype=np.float64) @ power).mean())
    if rounding.input_levels is not None:
        steps = _blocks(inputs.largest / wide, rounding.input_block).max(axis=-1)
        power = _blocks(columns.energy * wide**2, rounding.input_block).sum(axis=-1)
        noise += float(np.square(steps / rounding.input_levels) @ power)
    return float(np.sqrt(noise / 12 / signal))


def _blocks(values: NDArray[np.floating], block: int) -> NDArray[np.floating]:
    """The last axis cut into blocks; 0 for one block."""
    return values.reshape(*values.shape[:-1], -1, block or values.shape[-1])
