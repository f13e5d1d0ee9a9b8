"""Sizes of pictures in patches and visual tokens (Qwen2.5-VL image processor rules)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from awares_edge.errors import ImageError

MAX_ASPECT_RATIO = 200


@dataclass(frozen=True, slots=True)
class Grid:
    """A picture's size in vision patches.

    Attributes:
        height: rows of patches, a multiple of `merge`.
        width: columns of patches, a multiple of `merge`.
        merge: side of the square of patches that becomes one visual token.
    """

    height: int
    width: int
    merge: int = 2

    @property
    def patches(self) -> int:
        return self.height * self.width

    @property
    def rows(self) -> int:
        """Rows of visual tokens."""
        return self.height // self.merge

    @property
    def columns(self) -> int:
        """Columns of visual tokens."""
        return self.width // self.merge

    @property
    def tokens(self) -> int:
        return self.rows * self.columns


def smart_resize(
    width: int, height: int, *, min_pixels: int, max_pixels: int, factor: int = 28
) -> tuple[int, int]:
    """Size (width, height) in pixels that Qwen2.5-VL gives a picture of this size.

    Both sides become multiples of `factor`, the area lies within [min_pixels, max_pixels] and the
    aspect ratio is kept as nearly as that allows. Equal to transformers' `smart_resize`, which
    unlike qwen-vl-utils does not raise a side to `factor` before the area test.

    Raises:
        ImageError: a side is not positive, or one side is over 200 times the other.
    """
    if width <= 0 or height <= 0:
        raise ImageError(f"a picture of {width}x{height} pixels has no area: give another one")
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise ImageError(
            f"a picture of {width}x{height} pixels is over {MAX_ASPECT_RATIO} times longer than "
            "wide: crop it first"
        )
    # round() is half-to-even, as in the reference.
    new_h = round(height / factor) * factor
    new_w = round(width / factor) * factor
    if new_h * new_w > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        new_h = max(factor, math.floor(height / beta / factor) * factor)
        new_w = max(factor, math.floor(width / beta / factor) * factor)
    elif new_h * new_w < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        new_h = math.ceil(height * beta / factor) * factor
        new_w = math.ceil(width * beta / factor) * factor
    return new_w, new_h


def visual_tokens(
    width: int, height: int, *, min_pixels: int, max_pixels: int, factor: int = 28
) -> int:
    """Visual tokens of a picture of this size after `smart_resize`."""
    w, h = smart_resize(width, height, min_pixels=min_pixels, max_pixels=max_pixels, factor=factor)
    return (w // factor) * (h // factor)
