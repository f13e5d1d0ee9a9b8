"""Visual tokens: how many a picture costs in full, and how much of that was spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from awares_edge.protocol.sizes import Size


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """Visual tokens of one answer.

    Attributes:
        low: of the first view (the whole picture at full resolution in mode "full").
        crops: of all crops together.
        full: of the whole picture at full resolution: the baseline.
    """

    low: int
    crops: int
    full: int

    @property
    def rtr(self) -> float:
        """Retained-token ratio T / T_full (paper, section 4)."""
        return (self.low + self.crops) / self.full


def pixel_ratio(source: Size, low: Size | None, crops: Sequence[Size]) -> float:
    """The ratio that the released evaluator reports instead of the RTR, for comparison.

    A direct answer counts a constant 0.25; a call counts the low-res view once per crop. `low` is
    None where the whole picture was shown at once, which counts 1.

    Args:
        crops: sizes (width, height) of the crops in pixels.
    """
    if low is None:
        return 1.0
    if not crops:
        return 0.25
    total = sum(w * h + low[0] * low[1] for w, h in crops)
    return total / (source[0] * source[1])
