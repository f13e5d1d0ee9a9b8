"""Auxiliary targets for the vision tower: what stands in each merged cell.

A merged cell is 28 x 28 pixels. Its glyph slots are 2 rows x 6 columns, finer
than the smallest type drawn, so that two glyphs seldom meet in a slot.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from awares_edge.synth.canvas import COLOURS, SHAPES
from awares_edge.synth.pages import ALPHABET
from awares_edge.synth.sample import Thing
from awares_edge.synth.text import Glyph

CELL, ROWS, COLUMNS = 28, 2, 6
SLOTS = ROWS * COLUMNS
CLASSES = len(ALPHABET) + 1  # 0 is empty
_INDEX = {c: i + 1 for i, c in enumerate(ALPHABET)}


def glyph_slots(glyphs: Iterable[Glyph], width: int, height: int) -> NDArray[np.int16]:
    """Class of each slot, [height/28, width/28, SLOTS], row-major cells."""
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
    """Colour and shape class of the thing centred in each cell, [side/cell, side/cell, 2]."""
    out = np.zeros((side // cell, side // cell, 2), np.int16)
    for t in things:
        out[int(t.y // cell), int(t.x // cell)] = (_COLOUR[t.colour], _SHAPE[t.shape])
    return out
