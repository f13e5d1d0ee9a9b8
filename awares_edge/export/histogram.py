"""Histograms of magnitudes, one for each input channel of a matrix, that survive smoothing.

Bins are the quarters of octaves: float32's exponent and the first two bits of its mantissa. Each
channel's are counted down from the octave of its largest magnitude. Smoothing divides a channel by
a power of two, which moves its numbers and its largest by the same whole octaves: its histogram
stays as it is, and the matrix's histogram is put together from those of its channels afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.tensorfile import Array

BINS = 32
"""Of a channel: its eight highest octaves. The lowest bin also holds everything below."""
_QUARTERS = 4
_UNUSED_BITS = np.uint32(21)
"""Bits of a float32 below the second of its mantissa."""


def count(magnitudes: Array, largest: Array) -> NDArray[np.int64]:
    """Histograms of channels.

    Args:
        magnitudes: float32 [n, in].
        largest: float32 [in], of each channel; at least that of these magnitudes.

    Returns:
        counts [in, BINS], the highest bin last.
    """
    channels = len(largest)
    bins = np.maximum(_codes(magnitudes) - _first_codes(largest), 0)
    bins += np.arange(channels, dtype=np.int32) * BINS
    found: NDArray[np.int64] = np.bincount(bins.reshape(-1), minlength=channels * BINS)
    return found.reshape(channels, BINS)


def grow(counts: NDArray[np.int64], largest: Array, larger: Array) -> NDArray[np.int64]:
    """The same histograms after the largest magnitudes of channels have grown.

    Args:
        counts: [in, BINS], of channels up to `largest` [in].
        larger: [in], the new ones.
    """
    steps = _first_codes(larger) - _first_codes(largest)
    rows = np.flatnonzero(steps)
    moved = np.zeros((len(rows), BINS), dtype=counts.dtype)
    bins = np.maximum(np.arange(BINS) - steps[rows, None], 0)
    np.add.at(moved, (np.arange(len(rows))[:, None], bins), counts[rows])
    found: NDArray[np.int64] = counts.copy()
    found[rows] = moved
    return found


def join(
    counts: NDArray[np.number], largest: Array
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The histogram of all channels together.

    Args:
        counts: [in, BINS], or shares of equally many numbers a channel.
        largest: float32 [in], as they are after smoothing.

    Returns:
        edges [n + 1], rising from 0 to the largest magnitude of all, which may be the edge before
        it too; counts or shares [n].
    """
    codes = np.maximum(_first_codes(largest)[:, None] + np.arange(BINS), 0)
    size = int(_codes(largest).max()) + 1  # above the largest number there is nothing
    found = np.bincount(codes[:, 1:].reshape(-1), counts[:, 1:].reshape(-1), size)[:size]
    lowest = np.bincount(codes[:, 0], counts[:, 0], size)[:size]
    start = int(codes.min())
    bits = np.arange(start, size + 1, dtype=np.uint32) << _UNUSED_BITS
    edges = bits.view(np.float32).astype(np.float64)
    edges[0], edges[-1] = 0, largest.max()
    # What lies anywhere below a channel's second bin is spread evenly from there down to 0.
    dense = np.cumsum((lowest[start:] / edges[1:])[::-1])[::-1]
    return edges, found[start:] + dense * np.diff(edges)


def belong(counts: NDArray[np.number], largest: Array) -> bool:
    """Whether channels [in, BINS] can have these largest magnitudes [in]: each has counts, and none
    above its largest."""
    highest = _codes(largest) - _first_codes(largest)
    above = np.arange(BINS) > highest[:, None]
    return bool((counts.sum(axis=1) > 0).all() and not counts[above].any())


def _codes(magnitudes: Array) -> NDArray[np.int32]:
    """The number of the quarter of an octave in which each magnitude lies."""
    bits = np.ascontiguousarray(magnitudes, dtype=np.float32).view(np.uint32)
    codes: NDArray[np.int32] = (bits >> _UNUSED_BITS).astype(np.int32)
    return codes


def _first_codes(largest: Array) -> NDArray[np.int32]:
    """The number of each channel's lowest bin; its highest is the last quarter of an octave."""
    return (_codes(largest) | (_QUARTERS - 1)) - (BINS - 1)
