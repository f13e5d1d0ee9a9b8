"""A frame, and the place where a camera leaves the newest one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeAlias

from awares_edge.vision.load import ImageSource


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture and when it was taken. Two frames are the same only if they are one object.

    Attributes:
        image: a uint8 array [height, width, 3] in RGB order, a Pillow image, or another picture
            that `Model.open` takes. Leave it unchanged from here on: pass a copy of a buffer that
            the camera will fill again.
        taken: seconds of `time.monotonic()`; `math.inf` for a picture whose age does not matter.
        stamp: anything that should come back with the answer, such as a ROS header.
    """

    image: ImageSource
    taken: float = field(default_factory=monotonic)
    stamp: object = None


FrameSource: TypeAlias = Callable[[], Frame | None]
"""Gives the newest frame, or None before the first. It is called on the worker thread, so a source
that blocks holds up every question."""


class LatestFrame:
    """Passes the newest frame from the thread that takes frames to the threads that ask about them.

    It is a `FrameSource`: `asker.submit(latest, ...)` asks about the frame that is the newest when
    the worker gets to the question.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None

    def put(self, frame: Frame) -> None:
        """Replace the frame, unless the one that is held is newer. Never blocks."""
        with self._changed:
            if self._frame is None or frame.taken >= self._frame.taken:
                self._frame = frame
                self._changed.notify_all()

    def __call__(self) -> Frame | None:
        """The newest frame; None before the first."""
        return self._frame

    def newer_than(self, frame: Frame | None, timeout: float | None = None) -> Frame | None:
        """Wait for another frame than this one; None if none comes within `timeout` seconds."""
        with self._changed:
            fresh = self._changed.wait_for(lambda: self._frame is not frame, timeout)
            return self._frame if fresh else None
