"""Auxiliary targets of the vision tower: the glyphs and objects in each merged cell.

A merged cell (one visual token) is 28 x 28 pixels. It is divided into 2 rows x 6 columns of glyph
slots, finer than the smallest type drawn, so that two glyphs seldom share a slot.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from awares_edge.synth.canvas import COLOURS, SHAPES
from awares_edge.synth.sample import Thing
from awares_edge.synth.text import Glyph
from recipes.nano.pages import ALPHABET

CELL, ROWS, COLUMNS = 28, 2, 6
SLOTS = ROWS * COLUMNS
CLASSES = len(ALPHABET) + 1  # 0 is empty
ORDER = 8
"""Glyphs of a cell that are also listed in reading order."""
TARGETS = SLOTS + ORDER
_INDEX = {c: i + 1 for i, c in enumerate(ALPHABET)}


def glyph_targets(glyphs: Iterable[Glyph], width: int, height: int) -> NDArray[np.int16]:
    """Slot classes, then the first glyphs in reading order: int16 [height/28, width/28, TARGETS].

    A language model needs the reading order: the k-th character of a cell, wherever it is.
    """
    listed = list(glyphs)
    slots = glyph_slots(listed, width, height)
    order = np.zeros((*slots.shape[:2], ORDER), np.int16)
    filled = np.zeros(slots.shape[:2], np.int64)
    inside = [g for g in listed if 0 <= g.x < width and 0 <= g.y < height and g.char in _INDEX]
    for g in sorted(inside, key=lambda g: (g.y % CELL >= CELL / ROWS, g.x)):
        cell = int(g.y // CELL), int(g.x // CELL)
        if filled[cell] < ORDER:
            order[cell[0], cell[1], filled[cell]] = _INDEX[g.char]
            filled[cell] += 1
    return np.concatenate([slots, order], axis=-1)


def halved(glyphs: Iterable[Glyph], smallest: int = 15) -> list[Glyph]:
    """Glyphs as the low-resolution view shows them, without those too small to read there."""
    return [Glyph(g.char, g.x / 2, g.y / 2, g.size) for g in glyphs if g.size >= smallest]


def glyph_slots(glyphs: Iterable[Glyph], width: int, height: int) -> NDArray[np.int16]:
    """Class of each slot, int16 [height/28, width/28, SLOTS], row-major cells."""
    out = np.zeros((height // CELL, width // CELL, SLOTS), np.int16)
    for g in glyphs:
        if 0 <= g.x < width and 0 <= g.y < height and g.char in _INDEX:
            row = int(g.y % CELL * ROWS / CELL)
            column = int(g.x % CELL * COLUMNS / CELL)
            cell = out[int(g.y // CELL), int(g.x // CELL)]
            cell[row * COLUMNS + column] = _INDEX[g.char]
    return out


COLOUR_CLASSES = len(COLOURS) + 1
SHAPE_CLASSES = len(SHAPES) + 2  # and "bar"; 0 is none
_COLOUR = {c: i + 1 for i, c in enumerate(COLOURS)}
_SHAPE = {s: i + 1 for i, s in enumerate([*SHAPES, "bar"])}


def thing_cells(things: Iterable[Thing], cell: int, side: int) -> NDArray[np.int16]:
    """Colour and shape class of the object centred in each cell: [side/cell, side/cell, 2]."""
    out = np.zeros((side // cell, side // cell, 2), np.int16)
    for t in things:
        out[int(t.y // cell), int(t.x // cell)] = (_COLOUR[t.colour], _SHAPE[t.shape])
    return out
