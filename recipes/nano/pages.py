"""Dense pages of glyphs: the first data of the vision stage.

At ``jitter`` 0 text is fixed-pitch and snapped to a grid; up to 1, size, face, pitch, position and
colour vary more and more. Each page is one 112 x 112 window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from awares_edge.synth.text import FONTS, Glyph, draw_text, text_width

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
WINDOW = 112


def _ink_and_paper(
    rng: np.random.Generator, jitter: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Contrasting colours: dark on light, or (one in five) light on a dark band."""
    if rng.random() > jitter:
        return np.array([20, 20, 20]), np.array([250, 250, 250])
    light = rng.integers(205, 256, 3)
    dark = rng.integers(0, 60, 3)
    if rng.random() < 0.5:
        dark[int(rng.integers(3))] = int(rng.integers(60, 150))
    return (light, dark) if rng.random() < 0.2 else (dark, light)


def glyph_page(
    rng: np.random.Generator, jitter: float, size: int = WINDOW, sizes: tuple[int, int] = (10, 13)
) -> tuple[NDArray[np.uint8], list[Glyph]]:
    """A page, uint8 [size, size, 3], filled with random codes, and its glyphs."""
    ink, paper = _ink_and_paper(rng, jitter)
    page = np.empty((size, size, 3), np.uint8)
    page[:] = paper
    colour = (int(ink[0]), int(ink[1]), int(ink[2]))
    glyphs: list[Glyph] = []
    free = rng.random() < jitter
    if not free:
        row = 14 + (0 if rng.random() > jitter else int(rng.integers(0, 3)))
        dx = 0 if rng.random() > jitter else int(rng.integers(0, 7))
        dy = 0 if rng.random() > jitter else int(rng.integers(0, 14))
        for baseline in range(11 + dy, size + 4, row):
            chars = [ALPHABET[i] for i in rng.integers(0, len(ALPHABET), size // 7)]
            keep = rng.random(len(chars)) < 0.75
            text = "".join(c if k else " " for c, k in zip(chars, keep, strict=True))
            _, drawn = draw_text(
                page, dx, baseline, text, font=FONTS[0], size=11, colour=colour, advance=7
            )
            glyphs += drawn
        return page, glyphs
    y = int(rng.integers(0, 8))
    while y < size - 6:
        font = FONTS[int(rng.integers(len(FONTS)))]
        pt = int(rng.integers(sizes[0], sizes[1] + 1))
        baseline = y + pt
        x = int(rng.integers(-3, max(2, pt)))
        while x < size - pt // 2:
            count = int(rng.integers(2, 6))
            text = "".join(ALPHABET[i] for i in rng.integers(0, len(ALPHABET), count))
            _, drawn = draw_text(page, x, baseline, text, font=font, size=pt, colour=colour)
            glyphs += drawn
            x += text_width(text, font, pt) + int(rng.integers(pt // 2, pt * 2))
        y = baseline + int(rng.integers(4, 13 + pt // 4))
    return page, glyphs


def reduced_page(rng: np.random.Generator, jitter: float) -> tuple[NDArray[np.uint8], list[Glyph]]:
    """A page of large text, halved, as the low-resolution view shows it."""
    page, glyphs = glyph_page(rng, jitter, 2 * WINDOW, (20, 28))
    if not any(g.size > 14 for g in glyphs):
        return page[:WINDOW, :WINDOW], [g for g in glyphs if g.x < WINDOW and g.y < WINDOW]
    small = Image.fromarray(page).resize((WINDOW, WINDOW), Image.Resampling.LANCZOS)
    return np.asarray(small), [Glyph(g.char, g.x / 2, g.y / 2, g.size // 2) for g in glyphs]
