"""Protocol profiles: everything that a model was trained to expect, pinned under one name.

Three published sources disagree on the prompt, the crop boxes and the low-res view; a profile holds
one consistent choice of all of them, and a bundle carries its own. `nano` is the embedded model's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image

from awares_edge.errors import InputError
from awares_edge.protocol.call.format import CallFormat, call_format
from awares_edge.protocol.crops import CROP_NAMES, WHOLE, BoxRule, Crop, crop_box

LowResRule: TypeAlias = Literal["half", "thumbnail"]
Resampler: TypeAlias = Literal["lanczos", "bicubic"]

_RESAMPLING = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
}

# Qwen2.5-VL's image processor refuses pictures with sides further apart.
_MAX_ASPECT_RATIO = 200


@dataclass(frozen=True, slots=True)
class ProtocolProfile:
    """One way of asking an AwaRes model.

    Attributes:
        name: the profile's name.
        system_prompt: text of the system message.
        crop_ids: ids the prompt offers, in its order.
        box_rule: "halves" (README) or "evaluator" (sides of at least 100 px).
        low_res: "half" (both sides halved) or "thumbnail" (longer side to `thumbnail_side`).
        thumbnail_side: pixels; used by "thumbnail" alone.
        resampler: filter for the low-res view and for the source limits below.
        min_pixels, max_pixels: area limits of every picture given to the vision tower.
        source_max_side, source_max_pixels: a larger picture is scaled down to these first, before
            the low-res view and the crops are cut from it; None for no limit.
        min_crop_side: a picture with a shorter side (pixels) is sent whole instead of cropped.
        call_opening, call_closing: fixed text around the ids of a call.
    """

    name: str
    system_prompt: str
    crop_ids: tuple[str, ...]
    box_rule: BoxRule = "halves"
    low_res: LowResRule = "half"
    thumbnail_side: int = 512
    resampler: Resampler = "lanczos"
    min_pixels: int = 3_136
    max_pixels: int = 12_845_056
    source_max_side: int | None = None
    source_max_pixels: int | None = None
    min_crop_side: int = 2
    call_opening: str = "GET_CROPS: ["
    call_closing: str = "]"

    @property
    def call(self) -> CallFormat:
        """How this profile writes and reads a call."""
        return call_format(self.call_opening, self.call_closing, self.crop_ids)

    def source_view(self, image: Image.Image) -> Image.Image:
        """The picture that low-res view and crops are cut from: `image` within the limits."""
        width, height = image.size
        scale = 1.0
        if self.source_max_side:
            scale = min(scale, self.source_max_side / max(width, height))
        if self.source_max_pixels:
            scale = min(scale, (self.source_max_pixels / (width * height)) ** 0.5)
        if scale >= 1.0:
            return image
        width, height = int(width * scale), int(height * scale)
        # Rounding down must not make a picture narrower than the vision tower takes.
        shortest = max(1, math.ceil(max(width, height) / _MAX_ASPECT_RATIO))
        size = (max(shortest, width), max(shortest, height))
        return image.resize(size, _RESAMPLING[self.resampler])

    def low_res_view(self, source: Image.Image) -> Image.Image:
        """What the model sees first."""
        size = self.low_res_size(source.size)
        if size == source.size:
            return source
        # The gap is what `Image.thumbnail` uses, so that both rules share this one line.
        gap = 2.0 if self.low_res == "thumbnail" else None
        return source.resize(size, _RESAMPLING[self.resampler], reducing_gap=gap)

    def low_res_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Size (width, height) of the low-res view of a source picture of `size` pixels."""
        width, height = size
        if self.low_res == "half":
            return max(1, width // 2), max(1, height // 2)
        return _thumbnail_size(width, height, self.thumbnail_side)

    def crop(self, crop_id: str, size: tuple[int, int]) -> Crop:
        """The crop with this id in a source picture of `size` (width, height) pixels."""
        box = crop_box(crop_id, *size, rule=self.box_rule, min_side=self.min_crop_side)
        return Crop(box, crop_id)


def _thumbnail_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Size that Pillow's `Image.thumbnail((side, side))` gives: nearest aspect, never enlarged."""
    if width <= side and height <= side:
        return width, height
    aspect = width / height
    if aspect <= 1:
        exact = side * aspect
        near = min(math.floor(exact), math.ceil(exact), key=lambda n: abs(aspect - n / side))
        return max(near, 1), side
    exact = side / aspect
    near = min(
        math.floor(exact), math.ceil(exact), key=lambda n: abs(aspect - side / n) if n else 0.0
    )
    return side, max(near, 1)


_README_IDS = tuple(crop_id for crop_id in CROP_NAMES if crop_id != WHOLE)
_ALL_IDS = tuple(CROP_NAMES)


def _release_prompt(ids: tuple[str, ...]) -> str:
    """System prompt of the release's README; the paper's differs in the map alone."""
    crop_map = {crop_id: CROP_NAMES[crop_id] for crop_id in ids}
    return (
        "You are a vision-language model that analyzes images and answers questions about them. "
        "If the image resolution is too low for accurate analysis, respond with GET_CROPS: "
        "followed by a list of crop numbers in square brackets (e.g., GET_CROPS: ['3'] or "
        "GET_CROPS: ['0', '5']), where the available crop numbers and their corresponding "
        f"areas are {crop_map}, otherwise provide your answer."
    )


# The evaluator's own wording, its spelling included: models were scored with these very tokens.
_EVALUATOR_PROMPT = (
    "You are a vision-language model that analyzes images and answers questions about them. "
    "If the image resolution is too low for accurate analysis, respond with GET_CROPS "
    "[<crop_number>] to get a higher resolution version, the avalible <crop_numbers> and their "
    f"corresponding area of the high resolution image are {CROP_NAMES} ,otherwise provide your "
    "answer."
)

PROFILES: dict[str, ProtocolProfile] = {
    profile.name: profile
    for profile in (
        ProtocolProfile("paper", _release_prompt(_ALL_IDS), _ALL_IDS),
        ProtocolProfile(
            "readme",
            _release_prompt(_README_IDS),
            _README_IDS,
            low_res="thumbnail",
            # Pillow's default for `thumbnail`, which the README calls without a filter.
            resampler="bicubic",
        ),
        ProtocolProfile(
            "evaluator",
            _EVALUATOR_PROMPT,
            _ALL_IDS,
            box_rule="evaluator",
            min_pixels=32 * 28 * 28,
            max_pixels=2048 * 28 * 28,
            source_max_side=20_000,
            min_crop_side=100,
            call_opening="GET_CROPS [",
        ),
        ProtocolProfile(
            "nano",
            "Answer from the low-resolution view, or respond with GET_CROPS: and crop numbers.",
            _ALL_IDS,
            max_pixels=224 * 224,
            source_max_pixels=224 * 224,
        ),
    )
}


def get_profile(name: str) -> ProtocolProfile:
    """The profile of this name.

    Raises:
        InputError: there is none.
    """
    try:
        return PROFILES[name]
    except KeyError:
        names = ", ".join(PROFILES)
        raise InputError(f"no protocol profile {name!r}: choose one of {names}") from None
