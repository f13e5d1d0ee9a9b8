"""The AwaRes paper's table (arXiv 2603.16932), for comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A line of the table, Qwen2.5-VL-7B.

    Attributes:
        title: as the paper names it.
        scores: percent, by benchmark.
        mean: of the six, percent.
        rtr: mean retained-token ratio.
    """

    title: str
    scores: dict[str, float]
    mean: float
    rtr: float


def _row(title: str, scores: tuple[float, ...], mean: float, rtr: float) -> PaperRow:
    names = ("chartqa", "docvqa", "ocrbench", "pope", "realworldqa", "vstar")
    return PaperRow(title, dict(zip(names, scores, strict=True)), mean, rtr)


# By the mode that does the same.
PAPER: dict[str, PaperRow] = {
    "full": _row("full resolution", (79.80, 94.00, 81.10, 87.87, 68.80, 71.20), 80.46, 1.0),
    "low": _row("low resolution", (65.00, 91.00, 70.70, 84.41, 66.00, 63.20), 73.39, 0.25),
    "always-full": _row("VisionThink", (79.90, 90.35, 80.10, 86.70, 66.60, 71.73), 79.23, 0.61),
    "awares": _row("AwaRes", (80.64, 94.43, 81.30, 85.73, 68.50, 71.20), 80.30, 0.36),
}
