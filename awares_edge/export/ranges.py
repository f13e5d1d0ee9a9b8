"""Static ranges: the largest magnitude of a matrix's inputs that a quantized graph represents.

Larger inputs are clipped to it; the smaller it is, the finer are the steps of all others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.names import PATCH_EMBEDDING
from awares_edge.errors import ExportError
from awares_edge.export.base import RangeMethod
from awares_edge.export.histogram import join
from awares_edge.export.measured import Inputs, Measured, layer_name
from awares_edge.vision.patches import Preprocessing

PERCENTILE = 0.9999
"""Share of all inputs of a matrix that "percentile" does not clip."""
_LEVELS = 128
"""Magnitudes of an int8 number."""
_ENTROPY_BINS, _ENTROPY_STEP = 2048, 8
_SMALLEST_SHARE = 1e-4
"""What a bin counts at least where two distributions are compared: no logarithm of 0."""


def matrix_range(
    name: str, measured: Measured, method: RangeMethod, pixels: Preprocessing
) -> float:
    """The range of a matrix's inputs, by the matrix's name ("a.weight", "a.weight+b.weight").

    Args:
        measured: after smoothing.
        pixels: what the patch embedding reads, which is not measured.

    Raises:
        ExportError: as for `input_range`.
    """
    if name == PATCH_EMBEDDING:
        return pixel_range(pixels)
    # Joined matrices read the same inputs.
    return input_range(measured.inputs[layer_name(name)], method)


def pixel_range(pixels: Preprocessing) -> float:
    """The largest magnitude of a normalised pixel."""
    means_and_deviations = zip(pixels.image_mean, pixels.image_std, strict=True)
    return max(max(mean, 1 - mean) / deviation for mean, deviation in means_and_deviations)


def input_range(inputs: Inputs, method: RangeMethod) -> float:
    """The range of a matrix's inputs.

    Args:
        inputs: of the matrix, after smoothing.
        method: "minmax": the largest magnitude that was measured. "percentile": what `PERCENTILE`
            of all magnitudes do not exceed. "entropy": where clipping and rounding together lose
            least of the distribution, by Kullback-Leibler divergence.

    Raises:
        ExportError: the method needs a histogram, and none was measured.
    """
    if method == "minmax":
        return inputs.range
    if inputs.histogram is None:
        raise ExportError(
            f"the calibration file holds no histograms, which {method} ranges need: measure it "
            "again with this version of `awares-edge calibrate weights`"
        )
    edges, counts = join(inputs.histogram, inputs.largest)
    find: Callable[[NDArray[np.float64], NDArray[np.float64]], float]
    find = percentile_range if method == "percentile" else entropy_range
    return find(edges, counts)


def percentile_range(
    edges: NDArray[np.float64], counts: NDArray[np.float64], share: float = PERCENTILE
) -> float:
    """The magnitude that a share of all does not exceed.

    Args:
        edges: [n + 1], rising; within a bin magnitudes are taken as evenly spread.
        counts: [n].
    """
    totals = np.cumsum(counts)
    target = share * totals[-1]
    found = int(np.searchsorted(totals, target))
    inside = (target - (totals[found] - counts[found])) / counts[found]
    return float(edges[found] + inside * (edges[found + 1] - edges[found]))


def entropy_range(edges: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """The clipping at which the rounded distribution says most about the real one.

    TensorRT's calibration (S. Migacz, 8-bit inference with TensorRT, GTC 2017), over 2,048 bins of
    equal width: of every clipping from 128 bins on, each eighth, the one with the least
    Kullback-Leibler divergence between magnitudes that were clipped, and the same rounded to 128
    levels.

    Args:
        edges: [n + 1], rising from one that is not negative.
        counts: [n].
    """
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    even = np.linspace(0, edges[-1], _ENTROPY_BINS + 1)
    bins = np.diff(np.interp(even, edges, cumulative))
    candidates = range(_LEVELS, _ENTROPY_BINS + 1, _ENTROPY_STEP)
    best = min(candidates, key=lambda kept: _divergence(bins, kept))
    return float(even[best])


def _divergence(bins: NDArray[np.float64], kept: int) -> float:
    """Of the first `kept` bins, with all above them in the last, from their rounding."""
    clipped = bins[:kept].copy()
    level = np.arange(kept) * _LEVELS // kept
    used = clipped > 0
    sums = np.bincount(level, weights=clipped, minlength=_LEVELS)
    sizes = np.bincount(level, weights=used, minlength=_LEVELS)
    rounded = np.where(used, sums[level] / np.maximum(sizes[level], 1), 0.0)
    clipped[-1] += bins[kept:].sum()
    return _relative_entropy(clipped, rounded)


def _relative_entropy(real: NDArray[np.float64], model: NDArray[np.float64]) -> float:
    real, model = (_shares(values) for values in (real, model))
    return float((real * np.log(real / model)).sum())


def _shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of a whole, none of them 0."""
    filled = np.maximum(values / max(float(values.sum()), 1e-300), _SMALLEST_SHARE / len(values))
    found: NDArray[np.float64] = filled / filled.sum()
    return found
