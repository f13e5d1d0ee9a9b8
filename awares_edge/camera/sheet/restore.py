"""From a frame and the place of the sheet in it to the picture as it was drawn.

The sheet carries its own references. The paper around the markers is white and their borders are
black: exposure, colour cast and uneven light are undone without guessing from the picture. Their
edges are sharp in print: what is left of them in the frame is the blur of lens, sensor and JPEG.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.camera.sheet import markers
from awares_edge.synth.sample import SIDE

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = tuple[NDArray[np.intp], ...]

SCALE = 4
"""Pixels per millimetre of the straightened sheet: 3 x 3 for each pixel of the picture."""

_PER_PIXEL = round(markers.PICTURE_MM * SCALE) // SIDE
_MARGIN_MM = markers.GAP_MM  # paper that is kept around the markers
_LEFT_MM, _TOP_MM = (mm - _MARGIN_MM for mm in markers.HULL_MM[:2])
_WIDTH, _HEIGHT = (
    round((high - low + 2 * _MARGIN_MM) * SCALE)
    for low, high in zip(markers.HULL_MM[:2], markers.HULL_MM[2:], strict=True)
)
_WHITE_RING_MM = (1.5, 4.5)  # outside a marker: white paper
_BLACK_RING_MM = (1.2, 3.3)  # inside it: its border cells
_EDGE_MM = 3.0  # seen on either side of a marker's edge, and left out at its ends
_PIXEL_VARIANCE = 1 / 12  # of the mean over a pixel, in pixels: `level` reduces the sheet so
_NOISE = 0.003  # noise to signal of the Wiener filter; chosen on the validation split
_PAD = 16


def straighten(frame: Pixels, matrix: NDArray[np.float64]) -> Floats:
    """Picture, markers and a margin as they lie on the sheet.

    Args:
        matrix: homography from millimetres of the sheet to pixels of the frame, whose (0, 0) is
            the middle of the first pixel.

    Returns:
        RGB [720, 984, 3], from 0 to 255.
    """
    import cv2

    # From the middle of a pixel of the result to millimetres.
    step, half = 1 / SCALE, 0.5 / SCALE
    to_sheet = np.array([[step, 0, _LEFT_MM + half], [0, step, _TOP_MM + half], [0, 0, 1]])
    flat = cv2.warpPerspective(
        frame,
        matrix @ to_sheet,
        (_WIDTH, _HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(flat, np.float32)


def references(flat: Floats, seen: tuple[int, ...]) -> tuple[Floats, Floats]:
    """White and black at the four markers of a straightened sheet: each [4, 3].

    Args:
        seen: ids of the markers that were found, three or four; at the fourth one the light is as
            the others imply, if it falls off evenly.
    """
    found = []
    for rings in _rings():
        at = {marker: np.median(flat[rings[marker]], axis=0) for marker in seen}
        for marker in set(range(markers.MARKERS)) - at.keys():
            before, opposite, after = (at[(marker + step) % 4] for step in (1, 2, 3))
            at[marker] = before + after - opposite
        found.append(np.stack([at[marker] for marker in range(markers.MARKERS)]))
    return np.asarray(found[0], np.float32), np.asarray(found[1], np.float32)


def measure_blur(flat: Floats, seen: tuple[int, ...]) -> tuple[float, float]:
    """Sigma of the blur across and down, in pixels of the picture.

    The steepest slope of an edge that a Gaussian has blurred is its height / (sigma sqrt(2 pi)).
    """
    grey = flat @ np.full(3, 1 / 3, np.float32)
    reach, start = round(_EDGE_MM * SCALE), round(_EDGE_MM * SCALE)
    side = round(markers.MARKER_MM * SCALE)
    sigmas: tuple[list[float], list[float]] = ([], [])
    for marker in seen:
        x, y = _place(markers.ORIGINS_MM[marker])
        for turned, (across, along) in ((grey, (x, y)), (grey.T, (y, x))):
            strip = turned[along + start : along + side - start]
            for edge in (across, across + side):
                profile = strip[:, edge - reach : edge + reach].mean(axis=0)
                height = abs(float(profile[:4].mean() - profile[-4:].mean()))
                slope = float(np.abs(np.diff(profile)).max()) or 1.0
                sigmas[turned is not grey].append(height / slope / np.sqrt(2 * np.pi))
    x_sigma, y_sigma = (float(np.median(one)) / _PER_PIXEL for one in sigmas)
    return x_sigma, y_sigma


def level(flat: Floats, white: Floats, black: Floats) -> Floats:
    """The picture with white paper at 255 and black ink at 0 everywhere.

    Returns:
        RGB [224, 224, 3], not clipped.
    """
    import cv2

    left, top = _place((0.0, 0.0))
    side = SIDE * _PER_PIXEL
    picture = flat[top : top + side, left : left + side]
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low, high = _field(black), _field(white)
    return np.asarray((small - low) / np.maximum(high - low, 1) * 255, np.float32)


def sharpen(picture: Floats, blur: tuple[float, float]) -> Pixels:
    """Undo a Gaussian blur with a Wiener filter.

    Args:
        picture: RGB [224, 224, 3], not clipped.
        blur: sigma across and down in its pixels; that of the mean over a pixel is added.
    """
    padded = np.pad(picture, ((_PAD, _PAD), (_PAD, _PAD), (0, 0)), mode="reflect")
    side = SIDE + 2 * _PAD
    response = (
        _gaussian(np.fft.rfftfreq(side), blur[0])[None, :]
        * (_gaussian(np.fft.fftfreq(side), blur[1])[:, None])
    )
    # (1 + noise): a plain area keeps its value.
    inverse = response * (1 + _NOISE) / (response**2 + _NOISE)
    spectrum = np.fft.rfft2(padded.transpose(2, 0, 1)) * inverse
    sharp = np.fft.irfft2(spectrum, (side, side))[:, _PAD:-_PAD, _PAD:-_PAD].transpose(1, 2, 0)
    return np.ascontiguousarray(np.clip(sharp + 0.5, 0, 255), np.uint8)


def _gaussian(frequencies: NDArray[np.floating[Any]], sigma: float) -> NDArray[np.float64]:
    """The frequency response of a Gaussian blur and of the mean over a pixel."""
    variance = sigma * sigma + _PIXEL_VARIANCE
    return np.asarray(np.exp(-2 * (np.pi * frequencies) ** 2 * variance), np.float64)


def _place(mm: tuple[float, float]) -> tuple[int, int]:
    """(x, y) in pixels of the straightened sheet."""
    return round((mm[0] - _LEFT_MM) * SCALE), round((mm[1] - _TOP_MM) * SCALE)


@lru_cache(maxsize=1)
def _rings() -> tuple[list[Indices], list[Indices]]:
    """Pixels of the straightened sheet, by marker: white paper around it, its black border."""
    x = (np.arange(_WIDTH)[None, :] + 0.5) / SCALE + _LEFT_MM
    y = (np.arange(_HEIGHT)[:, None] + 0.5) / SCALE + _TOP_MM
    half = markers.MARKER_MM / 2
    white: list[Indices] = []
    black: list[Indices] = []
    for left, top in markers.ORIGINS_MM:
        outside = np.maximum(abs(x - left - half), abs(y - top - half)) - half
        white.append(np.nonzero((outside > _WHITE_RING_MM[0]) & (outside < _WHITE_RING_MM[1])))
        black.append(np.nonzero((-outside > _BLACK_RING_MM[0]) & (-outside < _BLACK_RING_MM[1])))
    return white, black


def _field(samples: Floats) -> Floats:
    """Samples at the four markers [4, 3], bilinear over the picture [224, 224, 3]."""
    (x0, y0), (x1, y1) = (
        (x + markers.MARKER_MM / 2, y + markers.MARKER_MM / 2)
        for x, y in (markers.ORIGINS_MM[0], markers.ORIGINS_MM[2])
    )
    at = (np.arange(SIDE) + 0.5) * (markers.PICTURE_MM / SIDE)
    u = ((at - x0) / (x1 - x0))[None, :, None]
    v = ((at - y0) / (y1 - y0))[:, None, None]
    a, b, c, d = samples
    return np.asarray((1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c), np.float32)
