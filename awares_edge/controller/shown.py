"""A region as it was cut out of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from awares_edge.protocol.regions import Region

Edges: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom edge, in pixels."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A region that was cut.

    Attributes:
        region: where it was cut from.
        box: its edges in pixels of the source picture.
        image: its pixels, before they are scaled to the size that is sent.
    """

    region: Region
    box: Edges
    image: Image.Image
