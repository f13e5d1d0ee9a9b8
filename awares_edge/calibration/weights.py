"""Statistics of what goes into each matrix, measured on two-turn questions.

One file serves every export: ranges of inputs (TensorRT's w8a8 and fp8), scales that smooth
outliers away (int8 and int4), products of inputs (GPTQ), importance matrices (GGUF); see
`export.measured`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from awares_edge.calibration.hessians import Hessians
from awares_edge.calibration.observe import observe
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.fingerprint import fingerprint
from awares_edge.checkpoint.lora import Adapter
from awares_edge.errors import CheckpointError, InputError
from awares_edge.export import histogram
from awares_edge.export.hessians import input_owner
from awares_edge.export.measured import (
    LEAST_QUESTIONS,
    Inputs,
    Measured,
    Origin,
    measured_layers,
)


class Statistics:
    """Sums and extremes over the inputs of each matrix.

    Attributes:
        counts: by layer: inputs [in] that were seen.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._largest: dict[str, NDArray[np.float32]] = {}
        self._magnitudes: dict[str, NDArray[np.float64]] = {}
        self._squares: dict[str, NDArray[np.float64]] = {}
        self._histograms: dict[str, NDArray[np.int64]] = {}

    def add(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Count inputs float32 [n, in] of one layer."""
        magnitudes = np.abs(inputs)
        before = self._largest.get(name)
        largest = magnitudes.max(axis=0)
        if before is not None:
            largest = np.maximum(before, largest)
        self._largest[name] = largest
        if name == input_owner(name):
            counts = histogram.count(magnitudes, largest)
            if before is not None:
                counts += histogram.grow(self._histograms[name], before, largest)
            self._histograms[name] = counts
        for sums, values in (
            (self._magnitudes, magnitudes.sum(axis=0, dtype=np.float64)),
            (self._squares, np.square(inputs, dtype=np.float64).sum(axis=0)),
        ):
            sums[name] = sums.get(name, 0.0) + values
        self.counts[name] = self.counts.get(name, 0) + len(inputs)

    def inputs(self, name: str) -> Inputs:
        """Statistics of one layer.

        Raises:
            CheckpointError: its input was never seen, always zero, or not finite.
        """
        count = self.counts.get(name, 0)
        largest = self._largest.get(name)
        if largest is None or not np.isfinite(largest).all() or not largest.any():
            raise CheckpointError(
                f"the input of {name} must be finite and must not always be zero: the checkpoint "
                "is damaged or untrained"
            )
        return Inputs(
            largest,
            (self._magnitudes[name] / count).astype(np.float32),
            (self._squares[name] / count).astype(np.float32),
            (self._histograms[input_owner(name)] / count).astype(np.float32),
        )


def measure_weights(
    checkpoint: Path,
    questions: Sequence[CalibrationQuestion],
    *,
    adapter: Path | None = None,
    dataset: str = "",
    name: str | None = None,
    protocol: str | None = None,
    device: str | None = None,
    hessian_limit: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Measured:
    """Ask every question of a checkpoint and note what goes into each of its matrices.

    `Measured.save` writes the file that exports read.

    Args:
        dataset: what the questions are, for people.
        name: of the checkpoint; None for its folder's.
        hessian_limit: most inputs of a matrix whose Hessian is measured, for GPTQ; 0 for none.
        progress: called with how many questions are done.

    Raises:
        InputError: fewer than `LEAST_QUESTIONS` questions.
        CheckpointError: an input is not finite; see `observe` for other arguments and errors.
    """
    if len(questions) < LEAST_QUESTIONS:
        raise InputError(
            f"calibration needs at least {LEAST_QUESTIONS} questions, there are "
            f"{len(questions)}: give {LEAST_QUESTIONS - len(questions)} more"
        )
    base = Checkpoint.open(checkpoint, name=name)
    added = None if adapter is None else Adapter.open(adapter, base)
    statistics, hessians = Statistics(), Hessians(hessian_limit)

    def note(name: str, inputs: NDArray[np.float32]) -> None:
        statistics.add(name, inputs)
        hessians.add(name, inputs)

    zoomed = observe(
        *(base, questions, note),
        adapter=added,
        protocol=protocol,
        device=device,
        progress=progress,
    )
    origin = Origin(fingerprint(base, added), base.spec.name, dataset, len(questions), zoomed)
    inputs = {name: statistics.inputs(name) for name in measured_layers(base.spec)}
    return Measured(origin, inputs, hessians=hessians.take())
