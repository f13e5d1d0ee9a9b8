"""The freshest frame of a source, read by one thread, and whether the camera can be trusted."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Literal, TypeAlias

import numpy as np

from awares_edge.camera.frames import Frame, Pixels
from awares_edge.camera.sources.base import Source
from awares_edge.camera.stillness import Stillness
from awares_edge.errors import CameraError

CameraState: TypeAlias = Literal["connecting", "live", "lost", "frozen", "closed"]

MAX_AGE_MS = 1000.0
_FPS_FRAMES = 30
_MOST_PIXELS = 8192 * 8192


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """How a camera is.

    Attributes:
        state: "live", or why there are no fresh frames.
        text: one line for people; the reason where the camera is lost or frozen.
        fps: frames a second that arrive, skipped ones included.
        frames: that arrived since the camera was connected.
        skipped: how many of them were not decoded, because they came too fast.
        reconnects: how often the source was opened again.
    """

    state: CameraState
    text: str
    fps: float
    frames: int
    skipped: int
    reconnects: int


class Camera:
    """Reads a source on its own thread and keeps only the newest frame.

    Any number of threads may read. A source that fails is opened again until `disconnect`.

    Attributes:
        retry: seconds until a lost source is opened again.

    Args:
        source: closed; `disconnect` closes it again.
        after: number after which frames are counted.
        max_fps: frames a second that are decoded; what comes in between is skipped.
        retry: see above.
        frozen_after: seconds of equal frames that make a camera frozen; it is then opened again,
            and after that at growing intervals.
        may_be_still: equal frames are normal, for any source.
    """

    def __init__(
        self,
        source: Source,
        *,
        after: int = 0,
        max_fps: float = 30.0,
        retry: float = 0.5,
        frozen_after: float = 3.0,
        may_be_still: bool = False,
    ) -> None:
        self.source = source
        # A little less than the period: frames come early and late, and would often be skipped.
        self._period = 0.75 / max_fps
        self.retry = retry
        self._may_be_still = may_be_still or source.may_be_still
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._frame: Frame | None = None
        self._state: CameraState = "connecting"
        self._text = f"opening {source.info.name}"
        self._after = after
        self._count = self._skipped = self._reconnects = 0
        self._times: deque[float] = deque(maxlen=_FPS_FRAMES)
        self._still = Stillness(frozen_after)
        self._thread: threading.Thread | None = None

    def connect(self) -> None:
        """Begin to read; returns at once, and does nothing the second time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
            self._thread.start()

    def wait_ready(self, seconds: float) -> None:
        """Wait for the first frame.

        Raises:
            CameraError: the source could not be opened, or sent nothing for so long.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame or self._state != "connecting", seconds)
            if self._frame is None:
                raise CameraError(self._text)

    def disconnect(self) -> None:
        """Stop reading and close the source. It may be called twice."""
        self._closed.set()
        self.source.stop()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self._set("closed", f"{self.source.info.name} is closed")

    @property
    def latest(self) -> Frame | None:
        """The newest frame, however old; None before the first one."""
        with self._changed:
            return self._frame

    def read_latest(self, max_age_ms: float = MAX_AGE_MS) -> Frame:
        """The newest frame, if it is fresh.

        Raises:
            CameraError: there is none yet, it is older than `max_age_ms`, or the camera is frozen.
        """
        with self._changed:
            frame, state, text = self._frame, self._state, self._text
        if state == "frozen" or frame is None:
            raise CameraError(text)
        if (age := frame.age_ms) > max_age_ms:
            reason = text if state != "live" else f"{self.source.info.name} sends no frames"
            raise CameraError(f"{reason} (the newest frame is {age / 1e3:.1f} s old)")
        return frame

    def wait_newer(self, number: int, timeout: float | None = None) -> Frame | None:
        """The newest frame as soon as it is newer than `number`; None after `timeout` seconds or
        at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest > number or self._closed.is_set(), timeout)
            return self._frame if self._newest > number else None

    @property
    def _newest(self) -> int:
        return 0 if self._frame is None else self._frame.number

    def status(self) -> CameraStatus:
        """How the camera is now."""
        with self._changed:
            state, text = self._state, self._text
            silent = 0.0 if self._frame is None else self._frame.age_ms / 1e3
            if state == "live" and silent > MAX_AGE_MS / 1e3:
                state = "lost"
                text = f"{self.source.info.name} has sent no frame for {silent:.0f} s"
            fps = self._fps() if state in ("live", "frozen") else 0.0
            return CameraStatus(state, text, fps, self._count, self._skipped, self._reconnects)

    def _fps(self) -> float:
        if len(self._times) < 2 or self._times[-1] == self._times[0]:
            return 0.0
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def _set(self, state: CameraState, text: str) -> None:
        with self._changed:
            self._state, self._text = state, text
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self.source.open()
                self._read_on()
            except CameraError as error:
                self._lose(str(error))
            except Exception as error:
                # A decoder may raise anything; the thread must outlive it.
                self._lose(f"{self.source.info.name} failed: {type(error).__name__}: {error}")
            finally:
                self.source.close()
            if not self._closed.wait(self.retry):
                self._reconnects += 1

    def _lose(self, reason: str) -> None:
        self._times.clear()
        if self._state != "frozen":
            self._set("lost", " ".join(reason.split()))

    def _read_on(self) -> None:
        decoded = float("-inf")
        while not self._closed.is_set():
            self.source.grab()
            taken = monotonic()
            skip = taken - decoded < self._period
            with self._changed:
                self._count += 1
                self._skipped += skip
                self._times.append(taken)
            if not skip:
                decoded = taken
                self._take(_checked(self.source.retrieve(), self.source.info.name), taken)

    def _take(self, pixels: Pixels, taken: float) -> None:
        pixels.flags.writeable = False
        name, (height, width, _) = self.source.info.name, pixels.shape
        frozen = not self._may_be_still and self._still.lasts(pixels)
        with self._changed:
            self._frame = Frame(pixels, self._after + self._count, taken)
            if frozen:
                self._state = "frozen"
                self._text = (
                    f"{name} is frozen: its picture has been the same for "
                    f"{self._still.seconds:.0f} s"
                )
            else:
                self._state, self._text = "live", f"{name}: {width} x {height}"
            self._changed.notify_all()
        if frozen and self._still.should_reopen():
            raise CameraError(self._text)


def _checked(pixels: Pixels, name: str) -> Pixels:
    """Refuse what is not a colour picture of 8 bits."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        shape = " x ".join(map(str, pixels.shape))
        raise CameraError(
            f"{name} sends frames of {shape} {pixels.dtype}: "
            "they must be height x width x 3 of 8 bits"
        )
    if not 0 < pixels.shape[0] * pixels.shape[1] <= _MOST_PIXELS:
        raise CameraError(f"{name} sends frames of {pixels.shape[1]} x {pixels.shape[0]} pixels")
    return pixels
