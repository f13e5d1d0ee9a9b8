"""The pictures of a folder, one after another."""

from __future__ import annotations

import threading
from pathlib import Path
from time import monotonic

import numpy as np

from awares_edge.camera.frames import Pixels
from awares_edge.camera.sources.base import Source, SourceInfo
from awares_edge.errors import CameraError, ImageError, InputError
from awares_edge.vision.load import load_image

_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif"}
_FRAMES_A_SECOND = 5.0


class FolderSource(Source):
    """Each picture for some seconds, in the order of their names, again and again.

    Pictures that cannot be read are passed over.

    Args:
        seconds: how long each is shown.
    """

    may_be_still = True

    def __init__(self, folder: Path, seconds: float = 3.0) -> None:
        self.info = SourceInfo(str(folder), f"folder {folder.name or folder}", "folder")
        self._folder, self._seconds = folder, seconds
        self._stopped = threading.Event()
        self._paths = self._list()
        self._at = -1
        self._until = 0.0
        self._pixels: Pixels | None = None

    def _list(self) -> list[Path]:
        try:
            paths = sorted(p for p in self._folder.iterdir() if p.suffix.lower() in _ENDINGS)
        except OSError as error:
            raise InputError(f"cannot read {self._folder}: {error.strerror}") from error
        if not paths:
            raise InputError(f"{self._folder} has no pictures")
        return paths

    def open(self) -> None:
        self._stopped.clear()
        self._until = 0.0

    def grab(self) -> None:
        if self._pixels is not None and self._stopped.wait(1 / _FRAMES_A_SECOND):
            raise CameraError(f"{self.info.name} was stopped")
        if monotonic() >= self._until:
            self._next()
            self._until = monotonic() + self._seconds

    def _next(self) -> None:
        reason = ""
        for _ in self._paths:
            self._at = (self._at + 1) % len(self._paths)
            try:
                self._pixels = np.asarray(load_image(self._paths[self._at]))
                return
            except ImageError as error:
                reason = str(error)
        raise CameraError(f"no picture of {self._folder} can be read: {reason}")

    def retrieve(self) -> Pixels:
        assert self._pixels is not None
        return self._pixels

    def close(self) -> None:
        self._stopped.set()

    def stop(self) -> None:
        self._stopped.set()
