"""What a page may see of an exchange, as JPEG."""

from __future__ import annotations

import re

from awares_edge.camera.frames import encode_jpeg
from awares_edge.camera.station import Station

_CROP = re.compile(r"crop-(\d{1,3})")
_SIDE = 1280


def picture_of(station: Station, id: int, name: str) -> bytes | None:
    """One picture of an exchange; None where there is none, or it is no longer kept.

    Args:
        name: "thumb", "frame" (that was asked about), "first" (view), or "crop-0", "crop-1", ...
    """
    if name == "thumb":
        exchange = station.exchange(id)
        return exchange.thumbnail if exchange is not None and exchange.thumbnail else None
    if name == "frame":
        return station.frame_of(id)
    seen = station.views(id)
    if seen is None:
        return None
    if name == "first":
        return encode_jpeg(seen.first, _SIDE)
    match = _CROP.fullmatch(name)
    if match is None or int(match[1]) >= len(seen.crops):
        return None
    return encode_jpeg(seen.crops[int(match[1])][1], _SIDE)
