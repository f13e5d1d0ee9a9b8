"""Chooses the scales of each site, and folds them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from awares_edge.checkpoint.tensorfile import Array, Weights
from awares_edge.export.graph.weights import Matrix, Rounding, WeightFormat
from awares_edge.export.measured import Inputs, Measured, layer_name, layer_names
from awares_edge.export.smoothing.error import Columns, relative_error
from awares_edge.export.smoothing.folded import Folded
from awares_edge.export.smoothing.sites import Site, find_sites
from awares_edge.spec import ModelSpec

LARGEST_ERROR = 0.25
"""A layer whose product loses more than this share, after smoothing, is not quantized."""

FormatsOf: TypeAlias = Callable[[str, tuple[int, int]], Sequence[WeightFormat]]
"""Every format in which a matrix will be stored, by its name ("a.weight", "a.weight+b.weight") and
shape."""

# Shares of an outlier that move into the weights: SmoothQuant's alpha. A scale of 1 is tried too.
_SHARES = (0.25, 0.5, 0.75, 1.0)
# Scale every channel, or only outliers: 4-bit weights lose least where they are unchanged.
_LEAST_CHANGES = (1, 3)
_LEAST, _MOST = -6, 12
"""Limits of a scale, as powers of two."""


@dataclass(frozen=True)
class Smoothed:
    """A model whose outliers were moved.

    Attributes:
        weights: with the scales folded in. A tied embedding has them as the head reads it: take the
            embedding itself from the weights that were given.
        measured: statistics of the inputs as they are now.
        errors: by matrix: predicted relative error of its product before and after.
    """

    weights: Weights
    measured: Measured
    errors: Mapping[str, tuple[float, float]]

    def beyond(self, limit: float = LARGEST_ERROR) -> list[str]:
        """Layers that lose more than a share: those to keep in a float format."""
        return [
            layer
            for matrix, (_, after) in self.errors.items()
            if after > limit
            for layer in layer_names(matrix)
        ]

    def facts(self, kept: Sequence[str]) -> dict[str, str]:
        """What a bundle's provenance says about it."""
        origin = self.measured.origin
        facts = {"calibrated_on": f"{origin.questions} questions, {origin.dataset}"[:256]}
        if kept:
            facts["kept_in_float"] = _cut(", ".join(kept))
        return facts


def smooth(
    weights: Weights, spec: ModelSpec, measured: Measured, formats_of: FormatsOf
) -> Smoothed:
    """Move outliers from the inputs of matrices into their weights where that makes errors smaller.

    Reads each quantized matrix once, a piece at a time.

    Raises:
        CheckpointError: a tensor cannot be read.
    """
    folded, inputs, hessians = Folded(weights), dict(measured.inputs), dict(measured.hessians)
    errors: dict[str, tuple[float, float]] = {}
    for site in find_sites(spec):
        trials = [
            trial for name in site.matrices if (trial := _trial(folded, name, measured, formats_of))
        ]
        if not trials:
            continue
        scales = _choose(site, trials)
        folded.fold(site, scales)
        spread = scales[site.scales]
        for trial in trials:
            errors[trial.name] = (trial.error(np.ones_like(spread)), trial.error(spread))
        for layer in (layer for name in site.matrices for layer in layer_names(name)):
            inputs[layer] = _scaled(inputs[layer], spread)
            if layer in hessians:
                hessians[layer] = hessians[layer].divided(spread)
    return Smoothed(folded, replace(measured, inputs=inputs, hessians=hessians), errors)


@dataclass(frozen=True)
class _Trial:
    """One matrix of a site."""

    name: str
    columns: Columns
    inputs: Inputs
    roundings: Sequence[Rounding]

    def error(self, scales: Array) -> float:
        """Of the form that loses most."""
        return max(relative_error(self.columns, self.inputs, one, scales) for one in self.roundings)


def _trial(weights: Folded, name: str, measured: Measured, formats_of: FormatsOf) -> _Trial | None:
    matrix = Matrix.of(weights, *name.split("+"))
    formats = formats_of(matrix.name, matrix.shape)
    roundings = [one.rounding for one in formats if one.rounding is not None]
    inputs = measured.inputs[layer_name(name)]
    return _Trial(name, Columns.of(matrix), inputs, roundings) if roundings else None


def _choose(site: Site, trials: Sequence[_Trial]) -> Array:
    """The scales [count] with the least sum of squared errors."""
    best = np.ones(site.count, dtype=np.float32)
    if not site.sources:
        return best
    peak = _most(site, np.maximum.reduce([trial.columns.peak for trial in trials]))
    largest = _most(site, trials[0].inputs.largest)

    def total(scales: Array) -> float:
        return sum(trial.error(scales[site.scales]) ** 2 for trial in trials)

    tries = (_scales(largest, peak, share, least) for share in _SHARES for least in _LEAST_CHANGES)
    return min([best, *tries], key=total)


def _scales(largest: Array, peak: Array, share: float, least: int) -> Array:
    """SmoothQuant's scales, as powers of two around 1.

    Channels that are never used, or whose exponent would be below `least`, keep 1.
    """
    used = (largest > 0) & (peak > 0)
    if not used.any():
        return np.ones_like(largest)
    exponents = np.zeros(len(largest))
    exponents[used] = share * np.log2(largest[used]) - (1 - share) * np.log2(peak[used])
    exponents[used] -= np.median(exponents[used])
    exponents = np.clip(np.rint(exponents), _LEAST, _MOST)
    exponents[np.abs(exponents) < least] = 0
    scales: Array = np.exp2(exponents).astype(np.float32)
    return scales


def _most(site: Site, values: Array) -> Array:
    """The largest value of the channels of each scale."""
    found = np.zeros(site.count, dtype=np.float32)
    np.maximum.at(found, site.scales, values)
    return found


def _scaled(inputs: Inputs, scales: Array) -> Inputs:
    """Statistics of inputs that are divided by scales, powers of two: their histograms stay."""
    return replace(
        inputs,
        largest=inputs.largest / scales,
        mean=inputs.mean / scales,
        square=inputs.square / scales**2,
    )


def _cut(text: str, most: int = 1024) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
