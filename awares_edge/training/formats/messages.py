"""A trajectory as chat messages with pictures: the conversation that `Encoder` makes tokens of.

Pictures are cut and resized here, to the sizes that the profile and Qwen2.5-VL's processor lead
to, so that a trainer's own processor leaves them as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image

from awares_edge.errors import InputError
from awares_edge.protocol import ProtocolProfile, check_question
from awares_edge.protocol.prompt import reply_text
from awares_edge.training.errors import TrainingError
from awares_edge.training.trajectories import Trajectory
from awares_edge.vision import Preprocessing, resize_picture

Part: TypeAlias = "str | Image.Image"
_TURN_END = "\n"  # what chat templates write after <|im_end|>
_SPECIAL = re.compile(r"<\|\w+\|>")


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        parts: texts, and pictures in their places.
        weight: of the loss on an assistant's message.
    """

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]
    weight: float = 1.0

    @property
    def pictures(self) -> list[Image.Image]:
        return [part for part in self.parts if isinstance(part, Image.Image)]


def check_profile(profile: ProtocolProfile) -> None:
    """Refuse a profile if chat messages cannot express its conversations.

    Raises:
        InputError: it has no fixed crop set, or does not end a message as chat templates do.
    """
    profile.crop_call(["all"])
    if profile.reply.join != _TURN_END:
        raise InputError(
            f"the profile {profile.name} joins a call and its reply by {profile.reply.join!r}, "
            "which chat templates cannot express: train with `train sft`"
        )


def messages_of(
    row: Trajectory,
    image: Image.Image,
    profile: ProtocolProfile,
    preprocessing: Preprocessing,
    tool_weight: float,
) -> list[Message]:
    """The conversation of one trajectory.

    Raises:
        TrainingError: its texts hold special tokens, which trainers would read as such.
        ImageError, QuestionError: it cannot be asked.
    """
    for text in (row.question, row.answer):
        if special := _SPECIAL.search(text):
            raise TrainingError(f"the text holds the special token {special[0]}")

    def shown(view: Image.Image) -> Image.Image:
        return resize_picture(
            view,
            preprocessing.factor,
            min_pixels=profile.min_pixels,
            max_pixels=profile.max_pixels,
        )

    limited = profile.limited_view(image)
    before, _, behind = profile.user.partition("{image}")
    question = behind.replace("{question}", check_question(row.question))
    first = shown(profile.first_picture(limited))
    messages = [
        Message("system", _parts(profile.system)),
        Message("user", _parts(before, first, question)),
    ]
    if row.crops:
        source = profile.source_view(limited)
        regions = [source.crop(profile.crop(c, source.size).box) for c in row.crops]
        call = profile.crop_call(row.crops)
        messages.append(Message("assistant", (call,), tool_weight))
        messages.append(
            Message("user", _reply(profile, [r.size for r in regions], map(shown, regions)))
        )
    messages.append(Message("assistant", (row.answer,)))
    return messages


def _reply(
    profile: ProtocolProfile, sizes: Sequence[tuple[int, int]], regions: map[Image.Image]
) -> tuple[Part, ...]:
    """The message that follows a call, as `PromptBuilder.reply` spells it."""
    text = reply_text(profile.reply.text, sizes[0], question="", calls=0)
    before, _, behind = text.partition("{image}")
    parts: list[Part] = [before]
    for number, region in enumerate(regions):
        parts += [profile.reply.between, region] if number else [region]
    return _parts(*parts, behind)


def _parts(*parts: Part) -> tuple[Part, ...]:
    """The parts without empty texts."""
    return tuple(part for part in parts if part != "")
