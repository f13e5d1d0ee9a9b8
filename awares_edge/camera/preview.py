"""The newest frame as a JPEG, made once for all who look at it."""

from __future__ import annotations

import threading

from awares_edge.camera.frames import Frame, Shot, encode_jpeg

SIDE = 1280
"""Longest side in pixels."""


class Preview:
    """JPEGs of frames; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: tuple[Frame, bytes] | None = None

    def shot(self, frame: Frame) -> Shot:
        """The JPEG of a frame, scaled down where the frame is large."""
        with self._lock:
            if self._made is None or self._made[0] is not frame:
                self._made = frame, encode_jpeg(frame.pixels, SIDE)
            jpeg = self._made[1]
        return Shot(jpeg, frame.size, frame.number, frame.age_ms)
