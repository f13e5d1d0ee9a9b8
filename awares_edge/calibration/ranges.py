"""Ranges of the linear layers' inputs, for formats that quantize activations (w8a8, fp8).

    measure_ranges(checkpoint, read_questions(Path("questions.jsonl")), Path("ranges.json"))
    awares-edge export checkpoint -o bundle --format tensorrt --target rtx40 --precision fp8 \\
        --ranges ranges.json

Each question goes through the whole loop, crops included, at fp32; the largest magnitude that a
layer's input ever had becomes its range. Take about a hundred pictures and questions of the task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from awares_edge.calibration.observe import observe
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.checkpoint.names import EMBEDDING, HEAD
from awares_edge.export.tensorrt.ranges import write_ranges


class Ranges:
    """Largest magnitudes of the inputs of each linear layer of a text model.

    Attributes:
        largest: by the layer's name, as "text.layers.0.mlp.down_proj"; the head has none, because
            its input is never quantized.
    """

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}

    def add(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Note inputs float32 [n, row length] of one matrix."""
        if name not in (EMBEDDING, HEAD):
            layer = name.removesuffix(".weight")
            self.largest[layer] = max(self.largest.get(layer, 0.0), float(np.abs(inputs).max()))


def measure_ranges(
    checkpoint: Path,
    questions: Iterable[CalibrationQuestion],
    output: Path,
    *,
    adapter: Path | None = None,
    protocol: str | None = None,
    device: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Ask every question and note how large each layer's input gets.

    Args:
        output: the JSON file to write, for the export's `ranges`.

    Returns:
        largest magnitude by layer.

    Raises:
        ExportError: a layer's input was always zero; see `observe` for other arguments and errors.
    """
    ranges = Ranges()
    observe(
        *(checkpoint, questions, ranges),
        adapter=adapter,
        protocol=protocol,
        device=device,
        progress=progress,
    )
    write_ranges(output, checkpoint.resolve().name, ranges.largest)
    return ranges.largest
