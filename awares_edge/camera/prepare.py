"""What is done to a frame before the model sees it, and the way back to the frame's pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from awares_edge.camera.exchange import Looked, Point
from awares_edge.camera.frames import Pixels
from awares_edge.controller.trace import ZoomedCrop

SQUARE_PROFILES = ("nano",)
"""Profiles of models that were trained on square pictures only."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture for the model.

    Attributes:
        pixels: uint8 [height, width, 3], RGB.
        to_frame: pixels (x, y) of it as pixels of the frame.
        note: what was done, one line; empty for nothing.
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


def centre_square(pixels: Pixels) -> Prepared:
    """The largest square in the middle of the frame."""
    height, width, _ = pixels.shape
    if height == width:
        return as_is(pixels)
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = pixels[top : top + side, left : left + side]
    note = f"the middle {side} x {side} of {width} x {height}: this model sees squares"
    return Prepared(square, lambda x, y: (x + left, y + top), note)


def preparation_for(profile: str) -> Preparation:
    """What a model needs that is asked by the profile of this name."""
    return centre_square if profile in SQUARE_PROFILES else as_is
