"""Crowded pictures for the vision stage: shapes, bars, words, small and large codes.

An ordinary scene holds a dozen glyphs; a crowd holds ten times as many, so the auxiliary heads
learn faster from it.
"""

from __future__ import annotations

import numpy as np

from awares_edge.synth.canvas import COLOURS, SHAPES, WORDS, Canvas, code
from awares_edge.synth.sample import SIDE, Sample, Thing
from awares_edge.synth.text import cap_height

_PITCH = 56


def crowd(rng: np.random.Generator) -> Sample:
    """A picture of 4 x 4 fields: shapes with codes, bars with values, large codes, words."""
    canvas = Canvas(rng)
    dx, dy = (int(v) for v in rng.integers(-8, 9, 2))
    for row in range(4):
        for column in range(4):
            x, y = column * _PITCH + dx, row * _PITCH + dy
            kind = rng.random()
            if kind < 0.4:
                _shape_with_code(canvas, x, y)
            elif kind < 0.65:
                _bar(canvas, x, y)
            elif kind < 0.87:
                text = code(rng) if rng.random() < 0.6 else str(int(rng.integers(10, 100)))
                size = canvas.size(False)
                left = x + int(rng.integers(0, max(1, _PITCH - canvas.width(text, size))))
                canvas.text(left, y + int(rng.integers(26, 50)), text, size)
            else:
                for line in range(3):
                    text = str(rng.choice(WORDS)) if rng.random() < 0.4 else code(rng)
                    left = x + int(rng.integers(0, 20))
                    canvas.text(left, y + 14 + 17 * line, text, canvas.size(True))
    return canvas.sample("crowd")


def _shape_with_code(canvas: Canvas, x: int, y: int) -> None:
    rng = canvas.rng
    side = int(rng.integers(24, 37))
    text, size = code(rng), canvas.size(True)
    width, cap = canvas.width(text, size), cap_height(canvas.font, size)
    left = x + int(rng.integers(0, _PITCH - side))
    top = y + int(rng.integers(0, max(1, _PITCH - side - cap - 5)))
    if not (0 <= left <= SIDE - side and 0 <= top <= SIDE - side):
        return
    colour, shape = str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))
    canvas.shape(colour, shape, left, top, side)
    canvas.text(left + (side - width) // 2, top + side + 4 + cap, text, size)


def _bar(canvas: Canvas, x: int, y: int) -> None:
    rng = canvas.rng
    colour = str(rng.choice(list(COLOURS)))
    half, centre = int(rng.integers(9, 16)), x + int(rng.integers(16, 40))
    top = y + int(rng.integers(14, 40))
    if not (16 <= centre <= SIDE - 16 and 16 <= top <= SIDE - 12):
        return
    canvas.rect((centre - half, top, centre + half, y + _PITCH), canvas.tint(colour))
    canvas.things.append(Thing(colour, "bar", centre, top + 8))
    text = str(int(rng.integers(10, 100)))
    size = canvas.size(bool(rng.random() < 0.7))
    canvas.text(centre - canvas.width(text, size) // 2, top - 4, text, size)
