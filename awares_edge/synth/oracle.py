"""Which crops hold a question's evidence: the smallest that hold every box whole.

``awares_edge.training.crop_rules`` has the rules for data with loose boxes: crops that hold 95%
of each box's area, and the paper's IoU. At 100% its coverage chooses as `smallest_crops` does, but
no area says how many pixels are between a box and a cut, which is what `is_clear` must know.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

from awares_edge.protocol import crop_box
from awares_edge.synth.sample import SIDE
from awares_edge.synth.text import Box

QUARTERS = ("0", "1", "2", "3", "4")
HALVES = ("5", "6", "7", "8")
# In order of area, then of number of crops.
CHOICES: tuple[tuple[str, ...], ...] = (
    *((q,) for q in QUARTERS),
    *((h,) for h in HALVES),
    *combinations(QUARTERS[:4], 2),
    ("all",),
)


@lru_cache(maxsize=32)
def _box(crop_id: str) -> Box:
    return crop_box(crop_id, SIDE, SIDE, rule="halves")


def slack(evidence: Box, crop_id: str) -> int:
    """Pixels between the evidence and the nearest cutting edge of a crop; negative if cut.

    Crop edges that are picture edges do not cut.
    """
    box = _box(crop_id)
    room = [SIDE]
    for i in (0, 1):
        if box[i] > 0:
            room.append(evidence[i] - box[i])
        if box[i + 2] < SIDE:
            room.append(box[i + 2] - evidence[i + 2])
    return min(room)


def smallest_crops(evidence: Sequence[Box], margin: int = 0) -> tuple[str, ...]:
    """The smallest set of crops that contain every evidence box, ``margin`` px inside."""
    for choice in CHOICES:
        if all(max(slack(box, c) for c in choice) >= margin for box in evidence):
            return choice
    return ("all",)


def is_sufficient(evidence: Sequence[Box], crops: Sequence[str]) -> bool:
    """Whether every evidence box is completely inside one of these crops."""
    return all(any(slack(box, c) >= 0 for c in crops) for box in evidence)


def is_clear(evidence: Sequence[Box], inside: int = 2, outside: int = 5) -> bool:
    """Is the smallest choice beyond doubt: well inside it, and well cut by all smaller ones?"""
    return smallest_crops(evidence, inside) == smallest_crops(evidence, -outside)
