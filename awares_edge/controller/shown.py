"""A region as it was cut out of a picture."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from awares_edge.protocol.regions import Region


@dataclass(frozen=True, slots=True)
class Shown:
    """A region that was cut.

    Attributes:
        region: where it was cut from.
        box: its edges in pixels of the source picture.
        image: its pixels, before they are scaled to the size that is sent.
    """

    region: Region
    box: tuple[float, float, float, float]
    image: Image.Image
