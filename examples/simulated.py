"""A simulated camera, so that the examples run anywhere: replace it by your driver.

All that the examples need of a camera is `LatestFrame.put`, called by whatever thread takes frames.
"""

from __future__ import annotations

import threading
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from awares_edge.live import Frame, LatestFrame


class SimulatedCamera:
    """Shows one picture, and puts a new frame of it into `latest` again and again.

    Args:
        latest: where the newest frame goes.
        rate: frames a second.
    """

    def __init__(self, latest: LatestFrame, rate: float = 30.0) -> None:
        self._latest, self._period = latest, 1.0 / rate
        self._picture: NDArray[np.uint8] | None = None
        self._number = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def look_at(self, picture: NDArray[np.uint8]) -> None:
        """Point the camera at something else: a uint8 array [height, width, 3]."""
        self._picture = picture
        self._take()

    def close(self) -> None:
        """Stop taking frames."""
        self._stop.set()
        self._thread.join()

    def _take(self) -> None:
        with self._lock:
            if self._picture is not None:
                self._number += 1
                self._latest.put(Frame(self._picture.copy(), monotonic(), stamp=self._number))

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            self._take()

    def __enter__(self) -> SimulatedCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
