"""Bundles of format version 1: their protocol profile was flat and knew crop sets only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from awares_edge.errors import BundleError

# Field of version 1 to its place in today's profile.
_PLACES = {
    "name": ("name",),
    "system_prompt": ("system",),
    "crop_ids": ("tool", "crops"),
    "call_opening": ("tool", "opening"),
    "call_closing": ("tool", "closing"),
    "box_rule": ("region", "boxes"),
    "min_crop_side": ("region", "min_side"),
    "low_res": ("first_view", "rule"),
    "thumbnail_side": ("first_view", "side"),
    "resampler": ("first_view", "resampler"),
    "source_max_side": ("source", "max_side"),
    "source_max_pixels": ("source", "max_pixels"),
    "min_pixels": ("min_pixels",),
    "max_pixels": ("max_pixels",),
}


def upgrade_profile(flat: object) -> dict[str, Any]:
    """A profile of version 1 in today's form; the caller checks its values.

    Raises:
        BundleError: it is not an object, or has an unknown field.
    """
    if not isinstance(flat, Mapping):
        raise BundleError("manifest.protocol must be an object")
    if unknown := sorted(set(flat) - set(_PLACES)):
        raise BundleError(f"manifest.protocol has an unknown field {unknown[0][:60]!r}")
    profile: dict[str, Any] = {}
    for name, value in flat.items():
        *tables, last = _PLACES[name]
        place = profile
        for table in tables:
            place = place.setdefault(table, {})
        place[last] = value
    if "resampler" in flat:
        profile.setdefault("source", {})["resampler"] = flat["resampler"]
    return profile
