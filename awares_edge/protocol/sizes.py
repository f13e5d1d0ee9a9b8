"""How large a picture is shown: limits on area and sides, and rounding to visual tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image

from awares_edge.vision.geometry import MAX_ASPECT_RATIO

Size: TypeAlias = tuple[int, int]
"""(width, height) in pixels."""

Resampler: TypeAlias = Literal["lanczos", "bicubic", "nearest"]
RESAMPLING = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}

_FACTOR = 28
"""Pixels along a side of one visual token of Qwen2.5-VL."""
_LONGEST = 190
"""Mini-o3 cuts longer aspect ratios to this one."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A size that a picture is scaled to.

    Attributes:
        rule: "floor": both sides become multiples of 28, rounded down where the area is too large
            (qwen-vl-utils' `smart_resize`); "round": rounded to the nearest instead (ERGO);
            "area": sides keep their ratio, are at least 28, and are not rounded to 28 (Mini-o3).
        min_pixels, max_pixels: limits on the area.
        resampler: filter.
    """

    rule: Literal["floor", "round", "area"]
    min_pixels: int
    max_pixels: int
    resampler: Resampler = "bicubic"

    def size(self, size: Size) -> Size:
        """The size that a picture of `size` is scaled to."""
        return self._area(size) if self.rule == "area" else self._snap(size)

    def _snap(self, size: Size) -> Size:
        width, height = size
        exact = (width, height)
        # Unlike transformers, qwen-vl-utils raises sides to 28 before it looks at the area.
        new = [max(_FACTOR, round(side / _FACTOR) * _FACTOR) for side in exact]
        if new[0] * new[1] > self.max_pixels:
            scale = math.sqrt(width * height / self.max_pixels)
            rounded = math.floor if self.rule == "floor" else round
            new = [max(_FACTOR, rounded(side / scale / _FACTOR) * _FACTOR) for side in exact]
        elif new[0] * new[1] < self.min_pixels:
            scale = math.sqrt(self.min_pixels / (width * height))
            new = [math.ceil(side * scale / _FACTOR) * _FACTOR for side in exact]
        return new[0], new[1]

    def _area(self, size: Size) -> Size:
        width, height = size
        for limit, wrong in (
            (self.max_pixels, width * height > self.max_pixels),
            (self.min_pixels, width * height < self.min_pixels),
        ):
            if wrong:
                scale = math.sqrt(limit / (width * height))
                width, height = max(1, int(width * scale)), max(1, int(height * scale))
        if min(width, height) < _FACTOR:
            scale = _FACTOR / min(width, height)
            width, height = int(width * scale) + 1, int(height * scale) + 1
        if max(width, height) / min(width, height) >= MAX_ASPECT_RATIO:
            short = int(max(width, height) / _LONGEST) + 1
            width, height = (short, height) if width < height else (width, short)
        return width, height


def raise_side(size: Size, least: int) -> Size:
    """`size` scaled up, both sides alike, so that the shorter one has `least` pixels."""
    width, height = size
    if min(width, height) >= least:
        return size
    scale = least / min(width, height)
    return max(least, int(width * scale)), max(least, int(height * scale))


def thumbnail_size(size: Size, side: int) -> Size:
    """Size that Pillow's `Image.thumbnail((side, side))` gives: nearest aspect, never enlarged."""
    width, height = size
    if width <= side and height <= side:
        return width, height
    aspect = width / height
    if aspect <= 1:
        exact = side * aspect
        near = min(math.floor(exact), math.ceil(exact), key=lambda n: abs(aspect - n / side))
        return max(near, 1), side
    exact = side / aspect
    near = min(
        math.floor(exact), math.ceil(exact), key=lambda n: abs(aspect - side / n) if n else 0.0
    )
    return side, max(near, 1)
