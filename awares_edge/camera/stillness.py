"""Whether a camera is frozen: a sensor's frames are never equal bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import numpy as np

from awares_edge.camera.frames import Pixels

_STEP = 8  # every so many rows and columns are compared


class Stillness:
    """How long frames have been equal, and when a frozen camera is worth opening again.

    Args:
        after: seconds of equal frames that make a camera frozen.
        clock: seconds.
    """

    def __init__(self, after: float, clock: Callable[[], float] = monotonic) -> None:
        self._after, self._clock = after, clock
        self._sample: Pixels | None = None
        self._since = clock()
        self._reopen_at = after

    @property
    def seconds(self) -> float:
        """For how long the frames have been equal."""
        return self._clock() - self._since

    def lasts(self, pixels: Pixels) -> bool:
        """Whether the frames up to this one have been equal for too long."""
        sample = pixels[::_STEP, ::_STEP].copy()
        if self._sample is None or not np.array_equal(sample, self._sample):
            self._sample, self._since, self._reopen_at = sample, self._clock(), self._after
        return self.seconds >= self._after

    def should_reopen(self) -> bool:
        """True at first, and then each time that it has lasted twice as long."""
        if self.seconds < self._reopen_at:
            return False
        self._reopen_at = 2 * self.seconds
        return True
