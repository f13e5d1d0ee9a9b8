"""Calibration files without a measurement."""

from __future__ import annotations

import numpy as np

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.fingerprint import fingerprint
from awares_edge.export.histogram import count
from awares_edge.export.measured import Inputs, Measured, Origin, measured_layers


def flat_measured(source: Checkpoint, largest: float = 4.0) -> Measured:
    """Statistics of a checkpoint that are the same for every input."""

    def inputs(channels: int) -> Inputs:
        ones = np.ones(channels, dtype=np.float32)
        # As of two inputs, the largest and half of it.
        magnitudes = largest * np.stack([ones, ones / 2])
        histogram = count(magnitudes, largest * ones) / 2
        return Inputs(largest * ones, largest / 4 * ones, (largest / 3) ** 2 * ones, histogram)

    origin = Origin(fingerprint(source), source.spec.name, "made up", 24, 12)
    return Measured(origin, {name: inputs(n) for name, n in measured_layers(source.spec).items()})
