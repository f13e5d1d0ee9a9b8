"""A drawn scene that moves slowly: a source for machines without a camera."""

from __future__ import annotations

import threading
from time import monotonic

import numpy as np

from awares_edge.camera.frames import Pixels
from awares_edge.camera.sources.base import Source, SourceInfo
from awares_edge.errors import CameraError
from awares_edge.synth import Sample, generate

SECONDS_A_SCENE = 20.0
_SCALE = 2
_SWAY_SECONDS = 12.0
_SWAY = 3  # frame pixels
_NOISE = 2.0  # standard deviation of a grey level, as of a sensor


class SyntheticSource(Source):
    """Pictures of the synthetic suite, one after another, that sway and carry a sensor's noise.

    Args:
        fps: frames a second.
        seconds: how long each picture is shown.
        seed: of pictures and noise.
    """

    info = SourceInfo("synthetic", "synthetic scene", "synthetic")

    def __init__(self, fps: float = 10.0, seconds: float = SECONDS_A_SCENE, seed: int = 0) -> None:
        self._period, self._seconds, self._seed = 1.0 / fps, seconds, seed
        self._stopped = threading.Event()
        self._sample: Sample | None = None
        self._scene = -1
        self._started = self._due = 0.0
        self._noise = np.random.default_rng(seed)

    @property
    def suggestions(self) -> tuple[str, ...]:
        sample = self._sample
        return () if sample is None else tuple(question.text for question in sample.questions)

    def open(self) -> None:
        self._stopped.clear()
        self._started = self._due = monotonic()

    def grab(self) -> None:
        self._due = max(self._due + self._period, monotonic())
        if self._stopped.wait(self._due - monotonic()):
            raise CameraError("the synthetic scene was stopped")

    def retrieve(self) -> Pixels:
        return self.draw(monotonic() - self._started)

    def draw(self, seconds: float) -> Pixels:
        """The frame at a time: uint8 [448, 448, 3]."""
        scene = int(seconds / self._seconds)
        if scene != self._scene or self._sample is None:
            self._sample, self._scene = generate("validation", self._seed, scene), scene
        large = self._sample.picture.repeat(_SCALE, 0).repeat(_SCALE, 1)
        phase = 2 * np.pi * seconds / _SWAY_SECONDS
        x, y = round(_SWAY * np.sin(phase)), round(_SWAY * np.cos(phase))
        height, width, _ = large.shape
        padded = np.pad(large, ((_SWAY, _SWAY), (_SWAY, _SWAY), (0, 0)), mode="edge")
        moved = padded[_SWAY + y : _SWAY + y + height, _SWAY + x : _SWAY + x + width]
        noise = self._noise.standard_normal((height, width, 1), dtype=np.float32) * _NOISE
        return np.clip(moved + noise + 0.5, 0, 255).astype(np.uint8)

    def close(self) -> None:
        self._stopped.set()

    def stop(self) -> None:
        self._stopped.set()
