"""GRPO's reward: answer similarity minus an asymmetric cost of the tool.

Paper: reward = 10 * similarity - cost; alpha_miss = 2 where a closer look was needed and
not taken, alpha_use = 0.25 where it was taken and not needed, and lambda = 0.01 on the
area looked at. The unit of that area is not published; percent of the picture is our
reading, so that one quadrant costs 0.25.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from awares_edge.protocol import crop_box

_UNIT = 1000


@dataclass(frozen=True)
class ToolCost:
    """Weights of the reward; ``accuracy`` multiplies the similarity."""

    accuracy: float = 10.0
    miss: float = 2.0
    use: float = 0.25
    area: float = 0.01

    def reward(
        self, similarity: float, *, needed: bool, crops: Sequence[str], called: bool
    ) -> float:
        """Reward of a finished conversation whose answer has a ``similarity`` in [0, 1]."""
        return self.accuracy * similarity - self.cost(needed, crops, called)

    def cost(self, needed: bool, crops: Sequence[str], called: bool) -> float:
        """Cost of a decision; ``crops`` were shown, ``called`` also counts calls that got none."""
        total = 0.0
        if needed and not crops:
            total += self.miss
        if called and not needed:
            total += self.use
        return total + self.area * 100 * sum(area_share(c) for c in crops)


def area_share(crop_id: str) -> float:
    """Share of the picture that a crop shows."""
    left, top, right, bottom = crop_box(crop_id, _UNIT, _UNIT, rule="halves")
    return (right - left) * (bottom - top) / _UNIT**2
