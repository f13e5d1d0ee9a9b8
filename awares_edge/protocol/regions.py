"""From the numbers of a call to the pixels that are cut out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from awares_edge.errors import InputError
from awares_edge.protocol.call import Request
from awares_edge.protocol.crops import CROP_NAMES, Box
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.sizes import Size


@dataclass(frozen=True, slots=True)
class Region:
    """A region that is sent to the model.

    Attributes:
        box: pixels of the picture that it is cut from.
        size: (width, height) in pixels as it is sent.
        picture: which picture it is cut from: 0 is the source, n the n-th region sent so far.
        id: of the crop set; empty for a free box.
    """

    box: Box
    size: Size
    picture: int = 0
    id: str = ""

    @property
    def name(self) -> str:
        """Such as "top-left"; "box" for a free one."""
        return CROP_NAMES[self.id] if self.id else "box"


class RegionError(InputError):
    """A call names a region that cannot be cut; its text is sent to the model."""


def locate(
    profile: ProtocolProfile,
    request: Request,
    pictures: Sequence[Size],
    view: Size,
    *,
    within: int = 0,
) -> Region:
    """The region that a request names.

    Args:
        pictures: sizes of the source picture and of every region cut so far, before scaling.
        view: size of the first view.
        within: picture that the crop set applies to.

    Raises:
        RegionError: no such picture, or a box that the profile does not allow.
    """
    rule = profile.region
    source = pictures[0]
    if rule.coordinates == "crops":
        crop = profile.crop(request.id, pictures[within])
        return Region(crop.box, crop.size, within, crop.id)
    if request.box is None:
        return Region((0, 0, *source), source)
    index = _picture(rule.references, request.reference, len(pictures))
    box = _box(profile, request.box, pictures[index], view)
    width, height = box[2] - box[0], box[3] - box[1]
    size = rule.fit.size((width, height)) if rule.fit else (width, height)
    return Region(box, size, index)


def _picture(kind: str, reference: str | int | None, count: int) -> int:
    """Index of the picture that a call refers to."""
    if kind == "source":
        return 0
    if kind == "numbers":
        if type(reference) is not int or not 1 <= reference <= count:
            raise RegionError(f"target_image must be a whole number between 1 and {count}")
        return reference - 1
    if reference == "original_image":
        return 0
    match = re.fullmatch(r"observation_([0-9]{1,4})", str(reference))
    if match is None or int(match[1]) >= count:
        raise RegionError(
            f"source must be original_image or observation_0 to observation_{count - 1}"
        )
    return int(match[1])


def _box(profile: ProtocolProfile, numbers: tuple[float, ...], size: Size, view: Size) -> Box:
    rule = profile.region
    x1, y1, x2, y2 = numbers
    if rule.ordered and not (x2 > x1 and y2 > y1):
        raise RegionError(f"the box {_shown(numbers)} must have x2 > x1 and y2 > y1")
    if rule.coordinates == "view" and rule.checked_in_view:
        numbers = _clamp(numbers, view, last_pixel=False)
        _check(profile, numbers)
        edges = _scaled(numbers, size[0] / view[0], size[1] / view[1])
        return _rounded(profile, _clamp(edges, size, last_pixel=False))
    edges = _edges(profile, numbers, size, view)
    if rule.rounding == "down":
        edges = tuple(float(math.trunc(edge)) for edge in edges)
    edges = _clamp(edges, size, last_pixel=rule.last_pixel)
    box = _rounded(profile, edges)
    _check(profile, box)
    return box


def _edges(
    profile: ProtocolProfile, numbers: tuple[float, ...], size: Size, view: Size
) -> tuple[float, ...]:
    """Edges in pixels of the picture that is cut, padding included."""
    rule = profile.region
    if rule.coordinates == "view":
        return _scaled(numbers, size[0] / view[0], size[1] / view[1])
    if rule.coordinates == "unit-or-pixels" and not all(n < 1 for n in numbers):
        numbers = _scaled(numbers, 1 / size[0], 1 / size[1])
    x1, y1, x2, y2 = numbers
    pad = rule.pad
    if pad:
        shares = (x1 - pad, y1 - pad, x2 + pad, y2 + pad)
        x1, y1, x2, y2 = (min(1.0, max(0.0, share)) for share in shares)
    return _scaled((x1, y1, x2, y2), size[0], size[1])


def _scaled(numbers: Sequence[float], x: float, y: float) -> tuple[float, ...]:
    x1, y1, x2, y2 = numbers
    return (x1 * x, y1 * y, x2 * x, y2 * y)


def _clamp(edges: Sequence[float], size: Size, *, last_pixel: bool) -> tuple[float, ...]:
    width, height = (size[0] - 1, size[1] - 1) if last_pixel else size
    limits = (width, height, width, height)
    if last_pixel:
        # As published: near edges are clamped only to 0, far ones only to the last pixel.
        x1, y1, x2, y2 = edges
        return (max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2))
    return tuple(
        min(float(limit), max(0.0, edge)) for edge, limit in zip(edges, limits, strict=True)
    )


def _rounded(profile: ProtocolProfile, edges: Sequence[float]) -> Box:
    rounded = math.trunc if profile.region.rounding == "down" else round
    left, top, right, bottom = (int(rounded(edge)) for edge in edges)
    return left, top, right, bottom


def _check(profile: ProtocolProfile, box: Sequence[float]) -> None:
    rule = profile.region
    width, height = box[2] - box[0], box[3] - box[1]
    if not min(width, height) > 0:
        raise RegionError(f"the box {_shown(box)} is empty, reversed or outside of the picture")
    if not min(width, height) > rule.larger_than:
        raise RegionError(f"the box {_shown(box)} is too small: {width:g}x{height:g} pixels")
    if max(width, height) / min(width, height) > rule.max_aspect:
        raise RegionError(
            f"the box {_shown(box)} is over {rule.max_aspect:g} times longer than wide"
        )


def _shown(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{n:g}' for n in numbers)}]"
