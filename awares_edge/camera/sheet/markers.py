"""Where the picture and its four markers are on the sheet, in millimetres; how markers look.

The origin is the top left corner of the picture, x grows to the right, y downwards. Markers stand
left and right of the picture, level with its top and bottom edges: the sheet is wider than high, as
camera frames are, and no edge of the picture is extrapolated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PICTURE_MM = 168.0
"""Side of the picture: 0.75 mm for each of the 224 pixels of a synthetic picture."""

MARKER_MM = 27.0
"""Side of a marker with its black border: 6 x 6 cells of 4.5 mm."""

CELL_MM = MARKER_MM / 6

GAP_MM = 6.0
"""White between a marker and the picture, and around it; a marker needs one cell."""

HULL_MM = (-GAP_MM - MARKER_MM, 0.0, PICTURE_MM + GAP_MM + MARKER_MM, PICTURE_MM)
"""Box around picture and markers (left, top, right, bottom): 234 x 168 mm."""

DICTIONARY = "DICT_4X4_50"
"""The OpenCV dictionary of the markers: the fewest, so the largest, cells."""

# Inner cells by id, row by row, 1 for white: OpenCV's DICT_4X4_50, ids 0 to 3.
_CODES = (0xB532, 0x0F9A, 0x332D, 0x9946)
_LEFT, _RIGHT = HULL_MM[0], PICTURE_MM + GAP_MM
_TOP, _BOTTOM = 0.0, PICTURE_MM - MARKER_MM

ORIGINS_MM = ((_LEFT, _TOP), (_RIGHT, _TOP), (_RIGHT, _BOTTOM), (_LEFT, _BOTTOM))
"""Top left corner of each marker, by id: clockwise from the top left of the sheet."""

MARKERS = len(ORIGINS_MM)


def cells(marker: int) -> NDArray[np.uint8]:
    """The 6 x 6 cells of a marker, 0 for black and 255 for white."""
    bits = [_CODES[marker] >> shift & 1 for shift in range(15, -1, -1)]
    inner = np.array(bits, np.uint8).reshape(4, 4) * 255
    return np.pad(inner.astype(np.uint8), 1)


def corners(marker: int) -> NDArray[np.float64]:
    """Corners of a marker in millimetres [4, 2], in OpenCV's order: clockwise from its top left."""
    return square(ORIGINS_MM[marker], MARKER_MM)


def picture_corners() -> NDArray[np.float64]:
    """Corners of the picture in millimetres [4, 2], clockwise from its top left."""
    return square((0.0, 0.0), PICTURE_MM)


def square(origin: tuple[float, float], side: float) -> NDArray[np.float64]:
    """Corners of a square [4, 2], clockwise from its top left, which is `origin`."""
    return np.array(origin) + np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64) * side
