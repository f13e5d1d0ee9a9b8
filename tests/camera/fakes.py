"""Sources that a test drives, and what it waits for."""

import queue
import threading
import time

import numpy as np

from awares_edge.camera.sources.base import Source, SourceInfo
from awares_edge.errors import CameraError

PATIENCE = 30.0


def wait_until(condition, seconds=PATIENCE):
    """Fail where something does not happen at all; how long it takes is not asserted."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def noise(seed=0, size=(448, 448)):
    """A frame of a sensor: never the same twice."""
    width, height = size
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class DrivenSource(Source):
    """Gives the frames that a test puts in; `fail` makes the next grab fail.

    Attributes:
        opened: how often it was opened.
        refuse: reason for which it cannot be opened; empty where it can.
    """

    def __init__(self, name="driven", still=False):
        self.info = SourceInfo(name, f"camera {name}", "device")
        self.may_be_still = still
        self.opened = 0
        self.closed = 0
        self.refuse = ""
        self._frames = queue.Queue()
        self._frame = None
        self._stopped = threading.Event()

    def put(self, pixels):
        self._frames.put(pixels)

    def fail(self, reason):
        self._frames.put(reason)

    def open(self):
        self._stopped.clear()
        self.opened += 1
        if self.refuse:
            raise CameraError(self.refuse)

    def grab(self):
        while not self._stopped.is_set():
            try:
                frame = self._frames.get(timeout=0.01)
            except queue.Empty:
                continue
            if isinstance(frame, str | Exception):
                raise CameraError(frame) if isinstance(frame, str) else frame
            self._frame = frame
            return
        raise CameraError("stopped")

    def retrieve(self):
        return self._frame.copy()

    def close(self):
        self.closed += 1

    def stop(self):
        self._stopped.set()


class SteadySource(DrivenSource):
    """A camera that gives a frame whenever it is asked: as fast as it may be read.

    Attributes:
        make: a frame, from its number.
        decoded: frames that were decoded.
    """

    def __init__(self, make=noise, fps=200.0, **more):
        super().__init__(**more)
        self.make, self._period = make, 1.0 / fps
        self.grabbed = self.decoded = 0

    def grab(self):
        if self._stopped.wait(self._period):
            raise CameraError("stopped")
        self.grabbed += 1

    def retrieve(self):
        self.decoded += 1
        return self.make(self.grabbed)
