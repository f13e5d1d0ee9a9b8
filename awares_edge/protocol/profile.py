"""A protocol profile: everything that a model was trained to expect, as data under one name.

A profile says how the model is asked, what it sees first, how it asks for a closer look, what it
is then shown, and where its answer is. It is written as TOML or JSON (docs/protocol.md); a bundle
carries its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from PIL import Image

from awares_edge.errors import InputError
from awares_edge.protocol.call import CallSyntax, CropListCall, Tool, call_syntax
from awares_edge.protocol.crops import BoxRule, Crop, crop_box
from awares_edge.protocol.sizes import (
    RESAMPLING,
    Fit,
    Resampler,
    Size,
    raise_side,
    thumbnail_size,
)
from awares_edge.vision.geometry import MAX_ASPECT_RATIO

Coordinates: TypeAlias = Literal["crops", "whole", "view", "unit", "unit-or-pixels"]


@dataclass(frozen=True, slots=True)
class Source:
    """The picture that views and regions are cut from.

    Attributes:
        max_side, max_pixels: a larger picture is scaled down to these; None for no limit.
        min_side: a narrower picture is scaled up to this, in pixels.
        fit: a size that it is scaled to after that; None to leave it.
        resampler: filter for the limits above.
    """

    max_side: int | None = None
    max_pixels: int | None = None
    min_side: int = 1
    fit: Fit | None = None
    resampler: Resampler = "lanczos"


@dataclass(frozen=True, slots=True)
class FirstView:
    """What the model sees first.

    Attributes:
        rule: what is done to the picture, within the source's limits: "whole": nothing; "half":
            both sides are halved, rounded down; "thumbnail": the longer side is scaled down to
            `side`.
        min_side: a narrower view is scaled up to this, in pixels.
        fit: a size that it is scaled to after that; None to leave it.
        resampler: filter, where `fit` does not say another.
    """

    rule: Literal["whole", "half", "thumbnail"] = "half"
    side: int = 512
    min_side: int = 1
    fit: Fit | None = None
    resampler: Resampler = "lanczos"


@dataclass(frozen=True, slots=True)
class RegionRule:
    """From a call's numbers to the pixels that are cut out.

    Attributes:
        coordinates: "crops": boxes of the fixed crop set by `boxes`; "whole": the source picture;
            "view": pixels of the first view; "unit": shares of the sides; "unit-or-pixels": shares
            where all four are below 1, else pixels.
        boxes: how the boxes of the crop set are computed.
        references: what a call's reference names: "source" (there is none), "names"
            ("original_image", "observation_2"), "numbers" (1 is the source).
        min_side: a source picture with a shorter side is sent whole ("crops").
        ordered: whether x2 > x1 and y2 > y1 must hold before anything else.
        checked_in_view: whether limits and clamping apply to pixels of the first view, rather than
            of the picture that is cut.
        pad: added on each side, as a share of the picture's sides.
        last_pixel: whether the far edge is clamped to the last pixel, as published by Mini-o3.
        rounding: of edges.
        larger_than: both sides must be larger, in pixels.
        max_aspect: largest ratio of the sides.
        fit: a size that a region is scaled to; None to leave it.
        nested: what a later box refers to in a region: its pixels as they were "cut", or as they
            were "sent".
    """

    coordinates: Coordinates = "crops"
    boxes: BoxRule = "halves"
    references: Literal["source", "names", "numbers"] = "source"
    min_side: int = 2
    ordered: bool = False
    checked_in_view: bool = False
    pad: float = 0.0
    last_pixel: bool = False
    rounding: Literal["down", "half-even"] = "down"
    larger_than: float = 0.0
    max_aspect: float = 200.0
    fit: Fit | None = None
    nested: Literal["cut", "sent"] = "cut"


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """What follows a call.

    Attributes:
        join: text between the call's end and the next message.
        text: the next message, {image} where the region goes; also {question}, {round} (calls
            before this one), {next}, {width} and {height} (of the region as it is sent).
        between: text between two regions of one call.
        error: the next message where a call cannot be followed, with {problem}.
    """

    join: str = "\n"
    text: str = "{image}"
    between: str = ""
    error: str = "{problem}"


@dataclass(frozen=True, slots=True)
class AnswerRule:
    r"""Where the answer is in what the model said.

    Attributes:
        rule: "text": all of it; "tag": inside <answer>, the first or the last; "innermost": before
            the first </answer> and after the last <answer> of that, of all turns together;
            "boxed": the last \boxed{}, else <answer>, else after "Answer:".
        which: of several tags.
    """

    rule: Literal["text", "tag", "innermost", "boxed"] = "text"
    which: Literal["first", "last"] = "first"


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """How often the model may look, and how much it may say.

    Attributes:
        max_calls: calls of one question; after the last one the model must answer.
        must_call: whether the first reply is always a call; the whole picture is sent where it
            holds none.
        max_new_tokens: longest reply of a turn, in tokens.
        stop: texts that end a reply as <|im_end|> does.
    """

    max_calls: int = 1
    must_call: bool = False
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProtocolProfile:
    """One way of asking a model that can look closer.

    Attributes:
        name: the profile's name.
        system: text of the system message.
        user: the user's message, with {image} and {question}.
        follow_up: a later message about the same picture, with {question}.
        source, first_view, tool, region, reply, answer, limits: see their classes.
        min_pixels, max_pixels: limits on the area of every picture given to the vision tower.
        reasoning: whether the model thinks aloud between <think> and </think>.
        tokens: texts that the checkpoint's tokenizer must hold as one token each.
        checkpoints: hub ids of the checkpoints that were trained with it.
        about: where the rules come from, and what differs from the published code.
    """

    name: str
    system: str
    user: str = "{image}{question}"
    follow_up: str = "{question}"
    source: Source = field(default_factory=Source)
    first_view: FirstView = field(default_factory=FirstView)
    tool: Tool = field(default_factory=Tool)
    region: RegionRule = field(default_factory=RegionRule)
    reply: ReplyRule = field(default_factory=ReplyRule)
    answer: AnswerRule = field(default_factory=AnswerRule)
    limits: TurnLimits = field(default_factory=TurnLimits)
    min_pixels: int = 3_136
    max_pixels: int = 12_845_056
    reasoning: bool = False
    tokens: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    about: str = ""

    @property
    def call(self) -> CallSyntax:
        """How this profile writes and reads a call."""
        return call_syntax(self.tool)

    def crop_call(self, crops: Sequence[str]) -> str:
        """A call for crops of the fixed set, in its trained form.

        Raises:
            InputError: this model does not call for crops by id, or not for these.
        """
        call: object = self.call
        if not isinstance(call, CropListCall):
            raise InputError(f"the profile {self.name} has no fixed crop set")
        return call.render(crops)

    def limited(self, max_pixels: int) -> ProtocolProfile:
        """The profile with pictures of at most this area."""
        if self.max_pixels <= max_pixels:
            return self
        return replace(self, max_pixels=max_pixels, min_pixels=min(self.min_pixels, max_pixels))

    def limited_size(self, size: Size) -> Size:
        """Size of a picture of `size` pixels within the source's limits."""
        width, height = size
        rule, scale = self.source, 1.0
        if rule.max_side:
            scale = min(scale, rule.max_side / max(width, height))
        if rule.max_pixels:
            scale = min(scale, (rule.max_pixels / (width * height)) ** 0.5)
        if scale >= 1.0:
            return width, height
        width, height = int(width * scale), int(height * scale)
        # Rounding down must not make a picture narrower than the vision tower takes.
        shortest = max(1, -(-max(width, height) // MAX_ASPECT_RATIO))
        return max(shortest, width), max(shortest, height)

    def source_size(self, size: Size) -> Size:
        """Size of the source picture of a picture of `size` pixels."""
        size = raise_side(self.limited_size(size), self.source.min_side)
        return self.source.fit.size(size) if self.source.fit else size

    def first_size(self, size: Size) -> Size:
        """Size of the first view of a picture of `size` pixels."""
        rule = self.first_view
        size = self.limited_size(size)
        if rule.rule == "half":
            size = max(1, size[0] // 2), max(1, size[1] // 2)
        elif rule.rule == "thumbnail":
            size = thumbnail_size(size, rule.side)
        size = raise_side(size, rule.min_side)
        return rule.fit.size(size) if rule.fit else size

    def limited_view(self, image: Image.Image) -> Image.Image:
        """The picture within the source's limits: what both views below are made from."""
        return _resize(image, self.limited_size(image.size), self.source.resampler)

    def source_view(self, limited: Image.Image) -> Image.Image:
        """The picture that regions are cut from."""
        fit = self.source.fit
        resampler = fit.resampler if fit else self.source.resampler
        return _resize(limited, self.source_size(limited.size), resampler)

    def first_picture(self, limited: Image.Image) -> Image.Image:
        """What the model sees first."""
        rule = self.first_view
        resampler = rule.fit.resampler if rule.fit and rule.rule == "whole" else rule.resampler
        # The gap is what `Image.thumbnail` uses.
        gap = 2.0 if rule.rule == "thumbnail" else None
        return _resize(limited, self.first_size(limited.size), resampler, gap)

    def crop(self, crop_id: str, size: Size) -> Crop:
        """The crop of this id in a source picture of `size` pixels."""
        rule = self.region
        return Crop(crop_box(crop_id, *size, rule=rule.boxes, min_side=rule.min_side), crop_id)


def _resize(
    image: Image.Image, size: Size, resampler: Resampler, gap: float | None = None
) -> Image.Image:
    if image.size == size:
        return image
    return image.resize(size, RESAMPLING[resampler], reducing_gap=gap)
