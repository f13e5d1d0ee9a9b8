"""The views of a batch of pictures, arranged so that windows are computed once.

Quadrants, halves and the whole picture share windows; only centre crops and
low-res views need windows of their own. Slots are fixed in number, so that the
compiled forward keeps one shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from awares_edge.protocol import get_profile
from awares_edge.training.nano.packing import View
from awares_edge.training.nano.patches import window_patches
from awares_edge.vision import Grid


@dataclass(frozen=True)
class Slots:
    """Fixed sizes of one batch: pictures, single-window crops, centre crops, halves."""

    pictures: int = 12
    crops: int = 24
    centres: int = 6
    wide: int = 4
    tall: int = 4

    @property
    def windows(self) -> int:
        return 5 * self.pictures + self.centres

    @property
    def ones(self) -> int:
        """Single-window views: low-res, crops."""
        return self.pictures + self.crops


def window_order(rows: int, columns: int) -> NDArray[np.int64]:
    """Index in window order of each row-major merged token of a rows x columns grid of windows."""
    r, c = np.divmod(np.arange(rows * columns * 16), columns * 4)
    order: NDArray[np.int64] = ((r // 4) * columns + c // 4) * 16 + (r % 4) * 4 + c % 4
    return order


_ORDER = {"four": window_order(2, 2), "wide": window_order(1, 2), "tall": window_order(2, 1)}
_HALF = {"5": ("wide", (0, 1)), "6": ("wide", (2, 3)), "7": ("tall", (0, 2)), "8": ("tall", (1, 3))}


@dataclass
class ViewTable:
    """Places windows and views of one batch; hands out ``View``s or None when slots run out.

    The flat table of visual tokens is: whole pictures, single windows (low-res views,
    then crops), wide halves, tall halves.
    """

    slots: Slots
    windows: NDArray[np.uint8] = field(init=False)
    one: list[int] = field(default_factory=list)
    wide: list[tuple[int, int]] = field(default_factory=list)
    tall: list[tuple[int, int]] = field(default_factory=list)
    centres: int = 0
    _views: dict[tuple[int, str], View] = field(default_factory=dict)
    _pictures: list[NDArray[np.uint8]] = field(default_factory=list)

    def __post_init__(self) -> None:
        s = self.slots
        self.windows = np.zeros((s.windows, 64, 588), np.uint8)
        # Low-res windows follow the 4 windows of every picture; then centres.
        self.one = [4 * s.pictures + i for i in range(s.pictures)]

    def add_picture(self, picture: NDArray[np.uint8]) -> int:
        i, s = len(self._pictures), self.slots
        self._pictures.append(picture)
        self.windows[4 * i : 4 * i + 4] = window_patches(picture)
        low = get_profile("nano").low_res_view(Image.fromarray(picture))
        self.windows[4 * s.pictures + i] = window_patches(np.asarray(low))[0]
        self._views[i, "all"] = View(64 * i + _ORDER["four"], Grid(16, 16))
        self._views[i, "low"] = View(self._one(i), Grid(8, 8))
        return i

    def view(self, picture: int, name: str) -> View | None:
        """View ``name`` ("low" or a crop id) of a picture; None if no slot is left."""
        if (picture, name) not in self._views:
            made = self._half(picture, name) if name in _HALF else self._single(picture, name)
            if made is None:
                return None
            self._views[picture, name] = made
        return self._views[picture, name]

    def _one(self, k: int) -> NDArray[np.int64]:
        return 64 * self.slots.pictures + 16 * k + np.arange(16)

    def _single(self, picture: int, name: str) -> View | None:
        s = self.slots
        if len(self.one) >= s.ones:
            return None
        if name == "4":
            if self.centres >= s.centres:
                return None
            window = 5 * s.pictures + self.centres
            self.windows[window] = window_patches(self._pictures[picture][56:168, 56:168])[0]
            self.centres += 1
        else:
            window = 4 * picture + int(name)
        self.one.append(window)
        return View(self._one(len(self.one) - 1), Grid(8, 8))

    def _half(self, picture: int, name: str) -> View | None:
        s = self.slots
        shape, (a, b) = _HALF[name]
        pairs, room = (self.wide, s.wide) if shape == "wide" else (self.tall, s.tall)
        if len(pairs) >= room:
            return None
        base = 64 * s.pictures + 16 * s.ones + (32 * s.wide if shape == "tall" else 0)
        base += 32 * len(pairs)
        pairs.append((4 * picture + a, 4 * picture + b))
        grid = Grid(8, 16) if shape == "wide" else Grid(16, 8)
        return View(base + _ORDER[shape], grid)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Window indices of single, wide and tall views, padded to the fixed sizes."""
        s = self.slots
        one = np.array(self.one + [0] * (s.ones - len(self.one)))
        wide = np.array(self.wide + [(0, 1)] * (s.wide - len(self.wide))).reshape(-1, 2)
        tall = np.array(self.tall + [(0, 2)] * (s.tall - len(self.tall))).reshape(-1, 2)
        return one, wide, tall
