"""Frames that somebody else takes and hands in: a browser's camera."""

from __future__ import annotations

import threading

import numpy as np

from awares_edge.camera.frames import Pixels
from awares_edge.camera.sources.base import Source, SourceInfo
from awares_edge.errors import CameraError
from awares_edge.vision.load import load_image

MAX_PIXELS = 3840 * 2160
_PATIENCE = 1.5  # seconds


class PushedSource(Source):
    """Frames that are pushed; the newest one wins."""

    info = SourceInfo("browser", "this browser's camera", "browser")
    # A page may repeat a picture: that does not mean that a sensor hangs.
    may_be_still = True

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pixels: Pixels | None = None
        self._new = self._stopped = False

    def push(self, jpeg: bytes) -> None:
        """Hand a frame in: an encoded picture.

        Raises:
            ImageError: it cannot be used, or has over 3840 x 2160 pixels.
        """
        pixels = np.asarray(load_image(jpeg, max_pixels=MAX_PIXELS))
        with self._changed:
            self._pixels, self._new = pixels, True
            self._changed.notify_all()

    def open(self) -> None:
        with self._changed:
            self._stopped, self._new = False, False

    def grab(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._new or self._stopped, timeout=_PATIENCE)
            if not self._new:
                raise CameraError("the browser sends no frames: allow its camera on the page")
            self._new = False

    def retrieve(self) -> Pixels:
        with self._changed:
            assert self._pixels is not None
            return self._pixels

    def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
