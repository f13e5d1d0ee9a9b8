"""The views of a batch of pictures: whole, low-res and crops, in groups of equal size.

Each group has a fixed number of slots, so that the compiled forward has one shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from awares_edge.protocol import get_profile
from awares_edge.synth.text import Box
from awares_edge.vision import Grid
from recipes.nano.packing import View
from recipes.nano.patches import WINDOW, window_order, window_patches

PROFILE = get_profile("nano")


@dataclass(frozen=True)
class Group:
    """Views of rows x columns windows, and where the first is in the batch's windows."""

    rows: int
    columns: int
    slots: int
    start: int

    @property
    def size(self) -> int:
        """Windows per view."""
        return self.rows * self.columns

    @property
    def stop(self) -> int:
        return self.start + self.slots * self.size


@dataclass(frozen=True)
class Slots:
    """Fixed sizes of one batch: pictures, single-window crops, wide and tall half crops.

    ``whole`` is the number of pictures that may be seen whole; None means all.
    """

    pictures: int = 12
    crops: int = 24
    wide: int = 4
    tall: int = 4
    whole: int | None = None

    def groups(self) -> dict[str, Group]:
        """Groups in the order of the batch's windows and visual tokens."""
        sizes = {
            "all": (2, 2, self.pictures if self.whole is None else self.whole),
            "low": (1, 1, self.pictures),
            "crop": (1, 1, self.crops),
            "wide": (1, 2, self.wide),
            "tall": (2, 1, self.tall),
        }
        groups, start = {}, 0
        for name, (rows, columns, slots) in sizes.items():
            groups[name] = Group(rows, columns, slots, start)
            start = groups[name].stop
        return groups

    @property
    def windows(self) -> int:
        return self.groups()["tall"].stop


_CROP_GROUPS = {(1, 1): "crop", (1, 2): "wide", (2, 1): "tall", (2, 2): "all"}


class ViewTable:
    """Puts the views of one batch into slots; unused slots stay black.

    Attributes:
        windows: uint8 [slots.windows, 64, 588].
        inside: bool [slots.windows, 64]: whether a patch belongs to its view. A box smaller than a
            window leaves the rest of it unused.
    """

    def __init__(self, slots: Slots) -> None:
        self.windows = np.zeros((slots.windows, 64, 588), np.uint8)
        self.inside = np.ones((slots.windows, 64), np.bool_)
        self._groups = slots.groups()
        self._used = dict.fromkeys(self._groups, 0)
        self._pictures: list[Image.Image] = []
        self._views: dict[tuple[int, str | Box], View] = {}

    def add_picture(self, picture: NDArray[np.uint8]) -> int:
        """Add a picture [224, 224, 3]; returns its number in the batch."""
        self._pictures.append(Image.fromarray(picture))
        return len(self._pictures) - 1

    def view(self, picture: int, name: str | Box) -> View | None:
        """View ``name`` of a picture ("low", "all", a crop id, or a box of the picture).

        None if no slot is left. The sides of a box are 56, 84 or 112 px, or else it fills whole
        windows.
        """
        key = picture, name
        if key not in self._views:
            whole = self._pictures[picture]
            if name == "low":
                made = self._place("low", PROFILE.first_picture(whole))
            else:
                box = PROFILE.crop(name, whole.size).box if isinstance(name, str) else name
                crop = whole.crop(box)
                if max(crop.size) <= WINDOW:
                    made = self._place_small(crop)
                else:
                    shape = crop.height // WINDOW, crop.width // WINDOW
                    made = self._place(_CROP_GROUPS[shape], crop)
            if made is None:
                return None
            self._views[key] = made
        return self._views[key]

    def _place(self, name: str, pixels: Image.Image) -> View | None:
        group, slot = self._groups[name], self._used[name]
        if slot >= group.slots:
            return None
        self._used[name] += 1
        start = group.start + slot * group.size
        self.windows[start : start + group.size] = window_patches(np.asarray(pixels))
        tokens = 16 * start + window_order(group.rows, group.columns)
        return View(tokens, Grid(8 * group.rows, 8 * group.columns))

    def _place_small(self, crop: Image.Image) -> View | None:
        """A view of at most one window, at the window's top left."""
        window = Image.new("RGB", (WINDOW, WINDOW))
        window.paste(crop)
        placed = self._place("crop", window)
        if placed is None or crop.size == window.size:
            return placed
        rows, columns = crop.height // 28, crop.width // 28
        own = (np.arange(rows)[:, None] * 4 + np.arange(columns)).reshape(-1)
        start = int(placed.tokens[0])
        self.inside[start // 16] = np.isin(np.arange(64) // 4, own)
        return View(start + own, Grid(2 * rows, 2 * columns))
