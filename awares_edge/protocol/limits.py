"""What each field of a protocol profile admits, in a profile file and in a bundle."""

from __future__ import annotations

from awares_edge.protocol.crops import CROP_NAMES
from awares_edge.schema import Items, Limits, Real, Text, Whole

_AREA = Whole(1, 1 << 24)
_SIDE = Whole(1, 1 << 16)
_SHORT = Text(0, 128)
_TEXT = Text(0, 16_384)

_FIT: Limits = {"fit.min_pixels": _AREA, "fit.max_pixels": _AREA}


def _inside(table: str, limits: Limits) -> Limits:
    return {f"{table}.{name}": limit for name, limit in limits.items()}


PROFILE_LIMITS: Limits = {
    "name": Text(1, 64),
    "about": Text(0, 4096),
    "checkpoints": Items(0, 64),
    "checkpoints[]": Text(1, 200),
    "tokens": Items(0, 16),
    "tokens[]": Text(1, 64),
    "system": _TEXT,
    "user": Text(1, 16_384),
    "follow_up": Text(1, 16_384),
    "min_pixels": _AREA,
    "max_pixels": _AREA,
    "source.max_side": Whole(1, 1 << 20),
    "source.max_pixels": Whole(1, 1 << 40),
    "source.min_side": Whole(1, 4096),
    **_inside("source", _FIT),
    "first_view.side": _SIDE,
    "first_view.min_side": Whole(1, 4096),
    **_inside("first_view", _FIT),
    "tool.opening": Text(1, 64),
    "tool.closing": Text(1, 64),
    "tool.crops": Items(0, len(CROP_NAMES)),
    "tool.crops[]": Text(1, 8),
    "tool.name": _SHORT,
    "tool.box": _SHORT,
    "tool.fixed": _SHORT,
    "tool.reference": _SHORT,
    "tool.spelled": Items(0, 8),
    "tool.spelled[]": Text(1, 64),
    "tool.example": Text(0, 1024),
    "region.min_side": Whole(2, 1 << 16),
    "region.pad": Real(0, 1),
    "region.larger_than": Real(0, 1 << 16),
    "region.max_aspect": Real(1, 1e6),
    **_inside("region", _FIT),
    "reply.join": Text(0, 64),
    "reply.text": Text(1, 16_384),
    "reply.between": Text(0, 1024),
    "reply.error": Text(1, 16_384),
    "limits.max_calls": Whole(1, 64),
    "limits.max_new_tokens": Whole(1, 1 << 16),
    "limits.stop": Items(0, 8),
    "limits.stop[]": Text(1, 64),
}
