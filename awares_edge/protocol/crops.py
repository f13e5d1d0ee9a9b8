"""Regions of a picture, and the fixed crop set of the AwaRes release: ids, names and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Box: TypeAlias = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, right and bottom exclusive, as Pillow crops."""

BoxRule: TypeAlias = Literal["halves", "evaluator"]

WHOLE = "all"
CROP_NAMES: dict[str, str] = {
    "0": "top-left",
    "1": "top-right",
    "2": "bottom-left",
    "3": "bottom-right",
    "4": "center",
    "5": "top",
    "6": "bottom",
    "7": "left",
    "8": "right",
    WHOLE: "all",
}
CROP_IDS: dict[str, str] = {name: crop_id for crop_id, name in CROP_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Crop:
    """One region of one picture.

    Attributes:
        box: pixels of the picture it is cut from.
        id: "0" to "8", or "all"; empty for a box that has no id.
    """

    box: Box
    id: str = ""

    @property
    def name(self) -> str:
        """The region's name; "box" where it has no id."""
        return CROP_NAMES[self.id] if self.id else "box"

    @property
    def size(self) -> tuple[int, int]:
        left, top, right, bottom = self.box
        return right - left, bottom - top


def crop_box(crop_id: str, width: int, height: int, rule: BoxRule, min_side: int = 2) -> Box:
    """The box of a crop in a picture of width x height pixels.

    A picture with a side under `min_side` pixels is sent whole, for any call.

    Raises:
        KeyError: no crop has this id.
    """
    name = CROP_NAMES[crop_id]
    if name == "all" or min(width, height) < min_side:
        return (0, 0, width, height)
    if rule == "evaluator":
        return _evaluator_box(name, width, height)
    half_w, half_h = width // 2, height // 2
    if name == "center":
        return (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    left = half_w if "right" in name else 0
    right = half_w if "left" in name else width
    top = half_h if "bottom" in name else 0
    bottom = half_h if "top" in name else height
    return (left, top, right, bottom)


def _evaluator_box(name: str, width: int, height: int) -> Box:
    # Sides of at least 100 px, anchored at the far edges: for odd sizes left + right leave one
    # column uncovered, as published.
    w, h = max(100, width // 2), max(100, height // 2)
    if name == "center":
        return ((width - w) // 2, (height - h) // 2, (width + w) // 2, (height + h) // 2)
    left = width - w if "right" in name else 0
    right = w if "left" in name else width
    top = height - h if "bottom" in name else 0
    bottom = h if "top" in name else height
    return (left, top, right, bottom)
