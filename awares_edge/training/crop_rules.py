"""From evidence boxes to crops: the published IoU rule, and our coverage rule.

Paper, section 3: C* holds every crop with IoU(box, crop) >= 0.5. As written that is
empty for a box smaller than 12.5% of the picture inside a quadrant, the usual
case. ``coverage`` (intersection over *evidence* area) takes the smallest crops that
hold enough of every box instead.

``awares_edge.synth.oracle`` chooses for synthetic pictures, whose boxes are exact and whose side
is known: no part of a box may be cut off, and the distance to a cut counts, in pixels. With a
threshold of 1 ``coverage`` chooses as it does; 0.95 forgives what a person or a grounding model
drew too wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from awares_edge.protocol import CROP_NAMES, Box, crop_box

CropRule = Literal["coverage", "iou"]
BoxF = tuple[float, float, float, float]
_SINGLE = tuple(c for c in CROP_NAMES if c != "all")


def area(box: BoxF | Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def intersection(a: BoxF | Box, b: BoxF | Box) -> float:
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a: BoxF | Box, b: BoxF | Box) -> float:
    """Intersection over union, 0 for empty boxes."""
    common = intersection(a, b)
    return common / total if (total := area(a) + area(b) - common) > 0 else 0.0


def coverage(evidence: BoxF | Box, crop: BoxF | Box) -> float:
    """Share of the evidence inside the crop."""
    whole = area(evidence)
    return intersection(evidence, crop) / whole if whole > 0 else 0.0


def crops_for(
    boxes: Sequence[BoxF | Box],
    size: tuple[int, int],
    *,
    rule: CropRule = "coverage",
    threshold: float | None = None,
) -> tuple[str, ...]:
    """Crop ids for evidence ``boxes`` in pixels of a picture of ``size`` (width, height).

    Thresholds default to 0.95 (coverage) and 0.5 (IoU). Empty where the rule finds none.
    """
    if not boxes:
        return ()
    if rule == "iou":
        limit = 0.5 if threshold is None else threshold
        hull = (
            min(b[0] for b in boxes),
            min(b[1] for b in boxes),
            max(b[2] for b in boxes),
            max(b[3] for b in boxes),
        )
        found = [c for c in CROP_NAMES if iou(hull, _box(c, size)) >= limit]
        return ("all",) if "all" in found else tuple(found)
    limit = 0.95 if threshold is None else threshold
    for choice in _choices(size):
        if all(max(coverage(b, _box(c, size)) for c in choice) >= limit for b in boxes):
            return choice
    return ("all",)


def _box(crop_id: str, size: tuple[int, int]) -> Box:
    return crop_box(crop_id, *size, rule="halves")


def _choices(size: tuple[int, int]) -> list[tuple[str, ...]]:
    """One crop, or two quadrants, by total area and then by number."""
    pairs = combinations(("0", "1", "2", "3"), 2)
    choices = [*((c,) for c in _SINGLE), *pairs]
    return sorted(choices, key=lambda c: (sum(area(_box(i, size)) for i in c), len(c)))
