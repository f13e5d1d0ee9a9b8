"""Reads the sheet from a camera's frame: finds the markers and gives the picture between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.camera.sheet import markers, restore
from awares_edge.errors import InputError
from awares_edge.extras import require
from awares_edge.synth.sample import SIDE

Pixels: TypeAlias = NDArray[np.uint8]
Points: TypeAlias = NDArray[np.float64]

LEAST_MARKERS = 3
"""A marker may be covered, by a thumb for instance; the others fix the plane."""

LEAST_SIDE = 200
"""Shortest side of the picture in a frame, in pixels: below it small text is not read."""

LEAST_CONTRAST = 40
"""Least difference of white paper and black markers, of 255."""

MOST_BLUR = 1.5
"""Most blur that is undone: sigma in pixels of the 224 x 224 picture."""

MOST_RESIDUAL_MM = 1.5
"""Most distance of the marker corners from those of a flat sheet (root mean square)."""


@dataclass(frozen=True)
class Page:
    """The picture of a sheet that was seen in a frame.

    Attributes:
        picture: RGB [224, 224, 3].
        matrix: homography [3, 3] from pixels of the picture to pixels of the frame; both have
            (0, 0) at the outer corner of the first pixel.
        residual: distance of the marker corners from those of a flat sheet, in millimetres (RMS).
        blur: removed blur: sigma in pixels of the picture.
    """

    picture: Pixels
    matrix: Points
    residual: float
    blur: float

    @property
    def corners(self) -> Points:
        """Corners of the picture in the frame [4, 2], clockwise from the picture's top left."""
        return project(self.matrix, markers.square((0.0, 0.0), SIDE))


@dataclass(frozen=True)
class NoPage:
    """A frame that shows no readable sheet.

    Attributes:
        reason: for people, such as "2 of 4 markers found".
        found: how many of the four markers were found.
    """

    reason: str
    found: int


def check_reader() -> None:
    """Find out before the work whether sheets can be read here.

    Raises:
        RuntimeUnavailable: OpenCV is missing; the message says how to install it.
    """
    require("reading the sheet", {"cv2": "awares-edge[camera]"})


def page_in(frame: Pixels) -> Page | NoPage:
    """The picture of the sheet in a frame: square, 224 x 224, level and sharp.

    Args:
        frame: RGB [height, width, 3]; unchanged.

    Raises:
        InputError: the frame has another shape or type.
        RuntimeUnavailable: OpenCV is missing.
    """
    check_reader()
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise InputError(
            f"a frame must be uint8 [height, width, 3], not {frame.dtype} {list(frame.shape)}"
        )
    found = find_markers(frame)
    if isinstance(found, NoPage):
        return found
    matrix, residual = fit(found)
    if reason := _unusable(matrix, residual, frame, len(found)):
        return NoPage(reason, len(found))
    flat = restore.straighten(frame, matrix)
    white, black = restore.references(flat, tuple(sorted(found)))
    if float((white - black).min()) < LEAST_CONTRAST:
        return NoPage("too little contrast: put more light on the page", len(found))
    blur = restore.measure_blur(flat, tuple(sorted(found)))
    if max(blur) > MOST_BLUR:
        return NoPage("the page is blurred: hold it still and in focus", len(found))
    picture = restore.sharpen(restore.level(flat, white, black), blur)
    return Page(picture, _from_picture(matrix), residual, max(blur))


def _unusable(matrix: Points, residual: float, frame: Pixels, found: int) -> str:
    """Why a sheet at this place is not read; empty if it is."""
    if residual > MOST_RESIDUAL_MM:
        return "the markers do not fit a flat sheet: hold the page flat"
    corners = project(matrix, markers.picture_corners())
    inside = (corners > -1) & (corners < np.array(frame.shape[1::-1]))
    if not inside.all():
        return f"{found} of {markers.MARKERS} markers found, and a part of the picture is outside"
    side = float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).min())
    if side < LEAST_SIDE:
        return (
            f"the picture is only {side:.0f} pixels wide, and must have {LEAST_SIDE}: "
            "hold the page nearer"
        )
    return ""


def find_markers(frame: Pixels) -> dict[int, Points] | NoPage:
    """Corners of the sheet's markers by id, each [4, 2] in pixels, (0, 0) in the middle of the
    first pixel; at least `LEAST_MARKERS` of them."""
    import cv2

    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    quads, ids, _ = _detector().detectMarkers(grey)
    found: dict[int, Points] = {}
    for marker, quad in zip([] if ids is None else ids.ravel().tolist(), quads, strict=True):
        if marker < markers.MARKERS:
            if marker in found:
                return NoPage("more than one sheet is in view: show one", len(found))
            found[marker] = quad.reshape(4, 2).astype(np.float64)
    if len(found) < LEAST_MARKERS:
        return NoPage(f"{len(found)} of {markers.MARKERS} markers found", len(found))
    return found


@lru_cache(maxsize=1)
def _detector() -> Any:
    import cv2

    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    # Read only the middle of each cell, finely sampled: blurred cells of 4 px are still readable.
    parameters.perspectiveRemovePixelPerCell = 8
    parameters.perspectiveRemoveIgnoredMarginPerCell = 0.3
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, markers.DICTIONARY))
    return cv2.aruco.ArucoDetector(dictionary, parameters)


def fit(found: Mapping[int, Points]) -> tuple[Points, float]:
    """The homography [3, 3] from millimetres of the sheet to pixels, from corners by marker.

    Returns:
        (homography, RMS distance of the corners from it in millimetres: infinite without a fit).
    """
    import cv2

    sheet = np.concatenate([markers.corners(marker) for marker in found])
    seen = np.concatenate(list(found.values()))
    fitted, _ = cv2.findHomography(sheet, seen)
    if fitted is None or abs(np.linalg.det(fitted)) < 1e-9:  # corners on one line
        return np.eye(3), float("inf")
    matrix: Points = np.asarray(fitted, np.float64)
    back = project(np.asarray(np.linalg.inv(matrix), np.float64), seen)
    return matrix, float(np.sqrt(np.mean(np.sum((back - sheet) ** 2, axis=1))))


def project(matrix: Points, points: Points) -> Points:
    """Points [n, 2] under a homography [3, 3]."""
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(moved[:, :2] / moved[:, 2:], np.float64)


def _from_picture(matrix: Points) -> Points:
    """The homography of `Page`, from that of `fit`."""
    scale = markers.PICTURE_MM / SIDE
    to_outer = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.asarray(to_outer @ matrix @ np.diag([scale, scale, 1.0]), np.float64)
