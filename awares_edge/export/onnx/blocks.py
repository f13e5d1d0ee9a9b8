"""4-bit numbers and the scale of a block, with the least error that needs no data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.tensorfile import Array

# Reciprocal scales to try for a block, as in ggml's `make_qx_quants`: -(8 + shift) / extreme.
_SHIFTS = tuple(np.arange(-1.0, 1.01, 0.25, dtype=np.float32))


def fit_int4(blocks: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """4-bit numbers and scales of blocks, with the least squared error among a few roundings.

    Each candidate maps the number of largest magnitude near -8, rounds, and takes the scale that is
    optimal for what was rounded. Needs no data: calibration can only do better.

    Args:
        blocks: float32 [n, block].

    Returns:
        values int8 [n, block] from -8 to 7; scales float32 [n], of either sign.
    """
    extreme = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(axis=1)]
    # Blocks of zeros, or of numbers too small to divide by, become zeros.
    extreme = np.where(np.abs(extreme) < 16 * np.finfo(np.float32).tiny, np.inf, extreme)
    shares = blocks / extreme[:, None]
    best = np.zeros(len(blocks), dtype=np.float32)
    values = np.zeros(blocks.shape, dtype=np.int8)
    scales = np.zeros(len(blocks), dtype=np.float32)
    for shift in _SHIFTS:
        steps = np.clip(np.rint(shares * -(8 + shift)), -8, 7)
        product = np.einsum("ij,ij->i", steps, shares)
        square = np.maximum(np.einsum("ij,ij->i", steps, steps), 1)
        # The squared error of the best scale is that of all zeros, less product ** 2 / square.
        gain = product * product / square
        better = gain > best
        best[better] = gain[better]
        values[better] = steps[better].astype(np.int8)
        scales[better] = product[better] / square[better] * extreme[better]
    scales[best == 0] = 1
    return values, scales
