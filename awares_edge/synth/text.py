"""Text drawn glyph by glyph from cached masks, so that every glyph's place is known.

The fonts are DejaVu subsets to printable ASCII (see ``fonts/LICENSE``).
Positions are whole pixels; ``y`` grows downwards; boxes are (x0, y0, x1, y1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]

FONTS = ("DejaVuSansMono-Bold", "DejaVuSans-Bold")
_FONT_DIR = Path(__file__).parent / "fonts"


@dataclass(frozen=True)
class Glyph:
    """One drawn character: its centre in pixels and the font size it was drawn at."""

    char: str
    x: float
    y: float
    size: int


@dataclass(frozen=True)
class _Mask:
    alpha: NDArray[np.float32]
    left: int
    top: int
    advance: int


def font_file(name: str) -> Path:
    """The TrueType file of one of `FONTS`; it holds printable ASCII only."""
    return _FONT_DIR / f"{name}.ttf"


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file(name)), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=8192)
def _mask(name: str, size: int, char: str) -> _Mask:
    font = _font(name, size)
    x0, y0, x1, y1 = (int(v) for v in font.getbbox(char, anchor="ls"))
    advance = round(font.getlength(char))
    if x1 <= x0 or y1 <= y0:
        return _Mask(np.zeros((0, 0), np.float32), 0, 0, advance)
    image = Image.new("L", (x1 - x0, y1 - y0), 0)
    ImageDraw.Draw(image).text((-x0, -y0), char, fill=255, font=font, anchor="ls")
    return _Mask(np.asarray(image, np.float32) / 255.0, x0, y0, advance)


@lru_cache(maxsize=256)
def cap_height(name: str, size: int) -> int:
    """Height in pixels of a capital letter."""
    return -_mask(name, size, "H").top


def text_width(text: str, name: str, size: int) -> int:
    """Advance width in pixels of ``text``."""
    return sum(_mask(name, size, c).advance for c in text)


def draw_text(
    canvas: NDArray[np.uint8],
    x: int,
    baseline: int,
    text: str,
    *,
    font: str,
    size: int,
    colour: Colour,
    advance: int | None = None,
) -> tuple[Box, list[Glyph]]:
    """Draw on ``canvas`` [H, W, 3] in place; return the ink box and the glyphs.

    ``advance`` forces a fixed pitch (grid-snapped pages).
    """
    height, width = canvas.shape[:2]
    ink = np.asarray(colour, np.float32)
    cap = cap_height(font, size)
    glyphs: list[Glyph] = []
    pen = x
    for char in text:
        mask = _mask(font, size, char)
        x0, y0 = pen + mask.left, baseline + mask.top
        x1, y1 = x0 + mask.alpha.shape[1], y0 + mask.alpha.shape[0]
        cx0, cy0, cx1, cy1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if cx1 > cx0 and cy1 > cy0:
            alpha = mask.alpha[cy0 - y0 : cy1 - y0, cx0 - x0 : cx1 - x0, None]
            region = canvas[cy0:cy1, cx0:cx1]
            canvas[cy0:cy1, cx0:cx1] = (region + alpha * (ink - region) + 0.5).astype(np.uint8)
        if char != " ":
            glyphs.append(Glyph(char, pen + mask.advance / 2, baseline - cap / 2, size))
        pen += mask.advance if advance is None else advance
    return (x, baseline - cap, pen, baseline), glyphs
