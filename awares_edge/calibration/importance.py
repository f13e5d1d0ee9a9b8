"""Which inputs of each text matrix matter, for quantization with an importance matrix (GGUF)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from awares_edge.calibration.observe import observe
from awares_edge.calibration.questions import CalibrationQuestion


class Importance:
    """Sums over the inputs of each matrix of a text model.

    Attributes:
        sums: by canonical tensor name, float64 [row length]: sum of squares. A tied head is stored
            under the embedding's name.
        counts: by canonical tensor name, inputs summed.
    """

    def __init__(self) -> None:
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Count inputs float32 [n, row length] of one matrix."""
        squares = np.square(inputs, dtype=np.float64).sum(axis=0)
        self.sums[name] = self.sums.get(name, 0.0) + squares
        self.counts[name] = self.counts.get(name, 0) + len(inputs)


def measure_importance(
    checkpoint: Path,
    questions: Iterable[CalibrationQuestion],
    *,
    adapter: Path | None = None,
    protocol: str | None = None,
    device: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Importance:
    """Ask every question and sum up; see `observe` for arguments and errors.

    `export.gguf.importance.save_importance` writes the file that the export reads.
    """
    importance = Importance()
    observe(
        *(checkpoint, questions, importance),
        adapter=adapter,
        protocol=protocol,
        device=device,
        progress=progress,
    )
    return importance
