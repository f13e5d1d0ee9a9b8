"""Conversations as model inputs, built by the protocol code that inference uses.

One trajectory becomes one sequence: turn 1, and for HR rows the call, the crops and
the answer. Only assistant tokens are supervised; those of the call weigh ``tool_weight``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from awares_edge.protocol import (
    PromptBuilder,
    ProtocolProfile,
    SpecialTokens,
    TextTokenizer,
)
from awares_edge.vision import Preprocessing, extract_patches, smart_resize

IGNORE = -100


@dataclass
class Conversation:
    """A conversation under construction; positions are left to the model.

    Attributes:
        ids, labels, weights: one item a token; labels are ``IGNORE`` for tokens without a loss.
        pixels, grids: patches [n, 1176] and (1, height, width) in patches of every view.
    """

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    pixels: list[NDArray[np.float32]] = field(default_factory=list)
    grids: list[tuple[int, int, int]] = field(default_factory=list)

    def given(self, ids: Sequence[int]) -> None:
        """Append tokens that the model does not generate."""
        self._append(ids, [IGNORE] * len(ids), 0.0)

    def generated(self, ids: Sequence[int], weight: float = 1.0) -> None:
        """Append tokens that the model generates."""
        self._append(ids, ids, weight)

    def copy(self) -> Conversation:
        return Conversation(
            [*self.ids], [*self.labels], [*self.weights], [*self.pixels], [*self.grids]
        )

    def _append(self, ids: Sequence[int], labels: Sequence[int], weight: float) -> None:
        self.ids += ids
        self.labels += labels
        self.weights += [weight] * len(ids)


class Encoder:
    """Builds conversations under one protocol profile."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        special: SpecialTokens,
        profile: ProtocolProfile,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.tokenizer, self.special, self.profile = tokenizer, special, profile
        self.prompt = PromptBuilder(tokenizer, special, profile)
        self.preprocessing = preprocessing or Preprocessing()

    def check(self, image: Image.Image) -> None:
        """Refuse a picture that the first turn cannot show.

        Raises:
            ImageError: its low-resolution view is too narrow.
        """
        width, height = self.profile.first_size(image.size)
        smart_resize(
            width,
            height,
            min_pixels=self.profile.min_pixels,
            max_pixels=self.profile.max_pixels,
            factor=self.preprocessing.factor,
        )

    def first_turn(self, image: Image.Image, question: str, *, full: bool = False) -> Conversation:
        """The prompt of turn 1, up to where the model starts to answer."""
        limited = self.profile.limited_view(image)
        conversation = Conversation()
        conversation.given([*self.prompt.system(), *self.prompt.open_picture()])
        view = self.profile.source_view if full else self.profile.first_picture
        self._view(conversation, view(limited))
        conversation.given(self.prompt.ask(question))
        return conversation

    def second_turn(
        self, conversation: Conversation, image: Image.Image, crops: Sequence[str]
    ) -> None:
        """Append the crops after a call that already ends with ``<|im_end|>``."""
        source = self.profile.source_view(self.profile.limited_view(image))
        boxes = [self.profile.crop(crop_id, source.size) for crop_id in crops]
        first, *others = self.prompt.reply([box.size for box in boxes])
        conversation.given(first[1:])
        for box, text in zip(boxes, others, strict=True):
            self._view(conversation, source.crop(box.box))
            conversation.given(text)

    def trajectory(
        self,
        image: Image.Image,
        question: str,
        answer: str,
        crops: Sequence[str],
        tool_weight: float = 5.0,
    ) -> Conversation:
        """A whole supervised trajectory (paper: w_t = 5 on the tool turn)."""
        conversation = self.first_turn(image, question)
        if crops:
            call = self.tokenizer.encode(self.profile.crop_call(crops))
            conversation.generated([*call, self.special.im_end], tool_weight)
            self.second_turn(conversation, image, crops)
        conversation.generated([*self.tokenizer.encode(answer), self.special.im_end])
        return conversation

    def _view(self, conversation: Conversation, view: Image.Image) -> None:
        patches = extract_patches(
            view,
            self.preprocessing,
            min_pixels=self.profile.min_pixels,
            max_pixels=self.profile.max_pixels,
        )
        conversation.given([self.special.image_pad] * patches.grid.tokens)
        conversation.pixels.append(patches.pixels)
        conversation.grids.append((1, patches.grid.height, patches.grid.width))


def collate(
    conversations: Sequence[Conversation], image_pad: int, pad: int, *, left: bool = False
) -> dict[str, Tensor]:
    """A padded batch of model inputs with ``labels`` and ``loss_weights`` [batch, length]."""
    length = max(len(c.ids) for c in conversations)

    def padded(values: Sequence[Any], fill: Any) -> list[Any]:
        gap = [fill] * (length - len(values))
        return [*gap, *values] if left else [*values, *gap]

    ids = torch.tensor([padded(c.ids, pad) for c in conversations])
    mask = torch.tensor([padded([1] * len(c.ids), 0) for c in conversations])
    pixels = [p for c in conversations for p in c.pixels]
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": torch.tensor([padded(c.labels, IGNORE) for c in conversations]),
        "loss_weights": torch.tensor([padded(c.weights, 0.0) for c in conversations]),
        "pixel_values": torch.from_numpy(np.concatenate(pixels)),
        "image_grid_thw": torch.tensor([g for c in conversations for g in c.grids]),
        "mm_token_type_ids": (ids == image_pad).int() * mask.int(),
    }
