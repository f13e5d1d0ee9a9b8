"""What has been computed of one picture, on the host: to be written to a file and read from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.controller.shown import Edges
from awares_edge.controller.trace import View
from awares_edge.protocol.crops import Box
from awares_edge.protocol.sizes import Size
from awares_edge.runtimes.base import SavedSession

RegionKey: TypeAlias = tuple[Edges, Size, Box]
"""A region of one picture: edges in its source, the size that is sent, the box that was cut."""


@dataclass(frozen=True, slots=True)
class SavedView:
    """A view in a cache: the system prompt and the view, without questions."""

    view: View
    session: SavedSession


@dataclass(frozen=True, slots=True)
class SavedRegion:
    """A region after the vision tower.

    Attributes:
        features: float32 [tokens, hidden].
    """

    key: RegionKey
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SavedPicture:
    """Views and regions of one picture under one model and profile. It names neither: whoever keeps
    it must."""

    views: tuple[SavedView, ...]
    regions: tuple[SavedRegion, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        sessions = sum(view.session.nbytes for view in self.views)
        return sessions + sum(region.features.nbytes for region in self.regions)
