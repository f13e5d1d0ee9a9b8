"""The newest picture message, converted only when somebody asks about it; knows nothing of ROS."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from awares_edge.live import Frame
from awares_edge.vision.load import ImageSource


class NewestPicture:
    """Where a subscription leaves its messages: a frame source for `LiveAsker.submit`.

    Converting takes milliseconds, and most messages are never asked about: the subscription only
    stores them, and the worker that asks converts. `capture` holds on to one frame, so that several
    questions are about the same picture and use what was computed of it.

    Args:
        convert: makes a picture of a message.

    Attributes:
        received: messages that came.
    """

    def __init__(self, convert: Callable[[Any], ImageSource]) -> None:
        self._convert = convert
        self._converting = threading.Lock()
        self._latest: tuple[Any, float] | None = None
        self._frame: tuple[Any, Frame] | None = None
        self._captured: Frame | None = None
        self.received = 0

    @property
    def taken(self) -> float | None:
        """When the newest one was taken, in seconds of `time.monotonic()`; None before it."""
        latest = self._latest
        return None if latest is None else latest[1]

    def put(self, message: Any, taken: float) -> None:
        """Replace the newest message. Never blocks; for one thread at a time."""
        self._latest = message, taken
        self.received += 1

    def __call__(self) -> Frame | None:
        """The captured frame, or else the newest one; None before the first.

        Raises:
            ImageError: the message cannot be converted.
        """
        with self._converting:
            return self._captured or self._newest()

    def capture(self) -> Frame | None:
        """Hold on to the newest frame until `release`, however old it gets; None before the first.

        Raises:
            ImageError: the message cannot be converted.
        """
        with self._converting:
            newest = self._newest()
            self._captured = newest and replace(newest, taken=math.inf)
            return self._captured

    def release(self) -> None:
        """Go back to the newest frame."""
        with self._converting:
            self._captured = None

    def _newest(self) -> Frame | None:
        latest = self._latest
        if latest is None:
            return None
        message, taken = latest
        if self._frame is None or self._frame[0] is not message:
            self._frame = message, Frame(self._convert(message), taken, message.header)
        return self._frame[1]
