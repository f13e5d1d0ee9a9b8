"""What is done to a frame before the model sees it, and the way back to the frame's pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from awares_edge.camera.exchange import Looked, Point
from awares_edge.camera.frames import Pixels
from awares_edge.camera.sheet.rectify import NoPage, page_in, project
from awares_edge.controller.trace import ZoomedCrop
from awares_edge.errors import CameraError

SHEET_PROFILES = ("nano",)
"""Profiles of models that were trained on the synthetic suite's pictures only."""

SHEET_ONLY = (
    "the embedded model reads only its own sheet from a camera: print one (docs/camera.md says "
    "how), or load a model that was trained on photographs"
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture for the model.

    Attributes:
        pixels: uint8 [height, width, 3], RGB.
        to_frame: pixels (x, y) of it as pixels of the frame.
        note: one line that says how the frame was changed; empty if it was not.
    """

    pixels: Pixels
    to_frame: Callable[[float, float], Point]
    note: str = ""

    def looked(self, crop: ZoomedCrop) -> Looked:
        """A region in the pixels of the frame."""
        left, top, right, bottom = crop.box
        at = self.to_frame
        corners = (at(left, top), at(right, top), at(right, bottom), at(left, bottom))
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        box = (round(min(xs)), round(min(ys)), round(max(xs)), round(max(ys)))
        return Looked(crop.id, crop.name, box, corners, crop.tokens)


class Preparation(Protocol):
    """Turns a frame into what the model sees."""

    def __call__(self, pixels: Pixels) -> Prepared:
        """
        Raises:
            CameraError: there is nothing in the frame to ask about; the message says why.
        """
        ...


def as_is(pixels: Pixels) -> Prepared:
    """The whole frame."""
    return Prepared(pixels, lambda x, y: (x, y))


def own_sheet(pixels: Pixels) -> Prepared:
    """The picture of the sheet in a frame: all that the embedded model can read from a camera.

    A square frame is taken for a drawing (the synthetic scene, a folder of its pictures) and left
    as it is: no camera's frame is square.

    Raises:
        CameraError: no readable sheet is in view; the message says why, and what else to do.
        RuntimeUnavailable: OpenCV is missing, which reads the sheet.
    """
    height, width, _ = pixels.shape
    if height == width:
        return as_is(pixels)
    page = page_in(pixels)
    if isinstance(page, NoPage):
        raise CameraError(f"{page.reason}; {SHEET_ONLY}")

    def to_frame(x: float, y: float) -> Point:
        ((frame_x, frame_y),) = project(page.matrix, np.array([[x, y]])).tolist()
        return frame_x, frame_y

    return Prepared(page.picture, to_frame, "the picture of the sheet, straightened and sharpened")


def preparation_for(profile: str) -> Preparation:
    """What a model needs that is asked by the profile of this name."""
    return own_sheet if profile in SHEET_PROFILES else as_is
