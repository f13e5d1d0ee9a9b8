"""A frame of a camera, and the JPEG of it that people see."""

from __future__ import annotations

import io
from dataclasses import dataclass
from time import monotonic, time
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]
"""uint8 [height, width, 3], RGB."""

_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        pixels: uint8 [height, width, 3], RGB; read-only.
        number: counts the frames that came, from 1, over all sources of a station; those that were
            dropped are counted too.
        taken: when it was read: seconds of the monotonic clock.
    """

    pixels: Pixels
    number: int
    taken: float

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def age_ms(self) -> float:
        """Milliseconds since it was read."""
        return (monotonic() - self.taken) * 1e3

    @property
    def time(self) -> float:
        """When it was read: seconds since 1970."""
        return time() - (monotonic() - self.taken)


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame for people.

    Attributes:
        jpeg: the picture, scaled down where it is large.
        size: (width, height) of the frame itself; boxes are in its pixels.
        number: of the frame.
        age_ms: milliseconds since the frame was read.
    """

    jpeg: bytes
    size: tuple[int, int]
    number: int
    age_ms: float


def encode_jpeg(pixels: Pixels | Image.Image, max_side: int | None = None) -> bytes:
    """A JPEG of a picture whose longer side is at most `max_side` pixels."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if max_side is not None and max(image.size) > max_side:
        image = image.copy() if image is pixels else image
        image.thumbnail((max_side, max_side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
