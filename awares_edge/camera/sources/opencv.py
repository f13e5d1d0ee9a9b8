"""USB and V4L2 cameras, network streams and video files, read with OpenCV.

The wheel of OpenCV has V4L2 and FFmpeg; GStreamer pipelines are read by `gstreamer`.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from awares_edge.camera.frames import Pixels
from awares_edge.camera.sources.base import Source, SourceInfo
from awares_edge.errors import CameraError
from awares_edge.extras import require

NEEDS = {"cv2": "awares-edge[camera]"}
_OPEN_MS, _READ_MS = 5000, 1500
# Over UDP, frames of a busy network are torn; buffered, they are old.
_STREAM_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # read when a capture is opened
# No log output; a V4L2 camera that hangs times out after 2 s instead of 10.
_SETTINGS = {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "2"}
_opening = threading.Lock()  # the options are the process's


@dataclass(frozen=True, slots=True)
class Mode:
    """What a camera is asked for; it may give something else.

    Attributes:
        width, height: pixels; None for the camera's own.
        fps: frames a second; None for the camera's own.
    """

    width: int | None = None
    height: int | None = None
    fps: int | None = None


class OpenCVSource(Source):
    """A capture of OpenCV.

    Args:
        capture: opens it: gives an object like `cv2.VideoCapture`.
    """

    def __init__(self, info: SourceInfo, capture: Callable[[], Any]) -> None:
        self.info = info
        self._open_capture = capture
        self._capture: Any = None

    def open(self) -> None:
        self.close()
        self._capture = self._open_capture()
        if not self._capture.isOpened():
            raise CameraError(self._why_closed())

    def _why_closed(self) -> str:
        return f"{self.info.name} cannot be opened"

    def grab(self) -> None:
        if not self._capture.grab():
            raise CameraError(f"{self.info.name} sends no frames any more")

    def retrieve(self) -> Pixels:
        there, pixels = self._capture.retrieve()
        if not there:
            raise CameraError(f"{self.info.name} sent a frame that cannot be decoded")
        return _to_rgb(pixels)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
        self._capture = None


class DeviceSource(OpenCVSource):
    """A V4L2 camera.

    Args:
        place: its number or path.
        capture: opens it, as `cv2.VideoCapture` does; None for that. Another one in tests.
    """

    def __init__(
        self,
        place: str,
        mode: Mode = Mode(),
        capture: Callable[[str | int, int], Any] | None = None,
    ) -> None:
        _require()
        self._path = f"/dev/video{place}" if place.isdigit() else place
        self._mode, self._make = mode, capture
        info = SourceInfo(place, f"camera {self._path}", "device")
        super().__init__(info, self._start)

    def _start(self) -> Any:
        import cv2

        if self._make is None and not Path(self._path).exists():
            raise CameraError(f"there is no camera at {self._path}: plug it in")
        # OpenCV opens cameras by number; a path that udev made is a link to one.
        number = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(self._path))
        place = int(number[1]) if number else self._path
        capture = (self._make or cv2.VideoCapture)(place, cv2.CAP_V4L2)
        width, height, fps = self._mode.width, self._mode.height, self._mode.fps
        if width is not None and height is not None:
            # Uncompressed, USB carries only a few large frames a second.
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        if fps is not None:
            capture.set(cv2.CAP_PROP_FPS, fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture

    def _why_closed(self) -> str:
        if Path(self._path).exists() and not os.access(self._path, os.R_OK | os.W_OK):
            return f"no permission for {self._path}: add this user to the group video"
        return (
            f"{self._path} cannot be opened as a camera: another program may use it, or it gives "
            "raw sensor data (on a Jetson, use csi)"
        )


def stream(url: str) -> OpenCVSource:
    """A network camera: RTSP over TCP, or HTTP."""
    _require()
    shown = without_password(url)

    def start() -> Any:
        import cv2

        timeouts = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS),
        ]
        with _opening, _environment(_OPTIONS, _STREAM_OPTIONS):
            return cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts)

    return OpenCVSource(
        SourceInfo(shown, shown, "rtsp" if url.startswith("rtsp") else "http"), start
    )


class VideoFile(OpenCVSource):
    """A video file at its own speed, again and again."""

    may_be_still = True

    def __init__(self, path: str) -> None:
        _require()
        super().__init__(SourceInfo(path, f"video {Path(path).name}", "file"), self._start)
        self._path = path
        self._stopped = threading.Event()
        self._period = self._due = 0.0

    def _start(self) -> Any:
        import cv2

        self._stopped.clear()
        with _opening:
            capture = cv2.VideoCapture(self._path, cv2.CAP_FFMPEG)
        fps = capture.get(cv2.CAP_PROP_FPS)
        self._period = 1.0 / fps if 1.0 <= fps <= 1000.0 else 1 / 30
        self._due = monotonic()
        return capture

    def _why_closed(self) -> str:
        return f"{self._path} is not a video that can be read"

    def grab(self) -> None:
        if self._stopped.wait(self._due - monotonic()):
            raise CameraError(f"{self.info.name} was stopped")
        self._due += self._period
        if not self._capture.grab():
            self.open()
            super().grab()

    def stop(self) -> None:
        self._stopped.set()


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable for a while, unless the user has set it."""
    own = name not in os.environ
    os.environ.setdefault(name, value)
    try:
        yield
    finally:
        if own:
            os.environ.pop(name, None)


def without_password(url: str) -> str:
    """A URL as it may be shown: without user, password and query."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def _require() -> None:
    require("this source", NEEDS)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import cv2

    # `CameraStatus` says what is wrong; OpenCV would repeat it on stderr.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _to_rgb(pixels: Any) -> Pixels:
    """OpenCV's blue, green, red as red, green, blue; grey as grey."""
    if pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[2] == 1):
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if pixels.dtype != np.uint8 or pixels.shape[2] != 3:
        return pixels  # type: ignore[no-any-return]  # `Camera` checks it
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
