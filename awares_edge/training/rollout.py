"""Two-turn rollouts: sample, cut the crops that were asked for, sample the answer.

The crops come from the protocol code that inference uses, and the sampled token ids
are kept as they are. Our own loop, not trl's: docs/training.md says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from awares_edge.protocol import CropCall, parse_call
from awares_edge.training.encoding import Conversation, collate
from awares_edge.training.loading import Loaded


@dataclass
class Rollout:
    """One sampled conversation; its labels mark exactly the sampled tokens."""

    conversation: Conversation
    call: CropCall
    answer: str


@dataclass(frozen=True)
class Sampling:
    """How to sample: temperature 1 and the whole distribution, as published."""

    temperature: float = 1.0
    max_new_tokens: int = 32


def roll_out(
    loaded: Loaded,
    prompts: Sequence[tuple[Image.Image, str]],
    group: int,
    sampling: Sampling,
) -> list[list[Rollout]]:
    """``group`` conversations for each (picture, question)."""
    encoder = loaded.encoder
    starts = [encoder.first_turn(image, question) for image, question in prompts]
    conversations = [start.copy() for start in starts for _ in range(group)]
    first = _sample(loaded, conversations, sampling)
    rollouts: list[Rollout] = []
    second: list[int] = []
    for n, ids in enumerate(first):
        text = encoder.tokenizer.decode(ids)
        call = parse_call(text, encoder.profile.crop_ids)
        conversations[n].generated(ids)
        ended = bool(ids) and ids[-1] == encoder.special.im_end
        if call.ids and ended:
            encoder.second_turn(conversations[n], prompts[n // group][0], call.ids)
            second.append(n)
        rollouts.append(Rollout(conversations[n], call, text))
    if second:
        answers = _sample(loaded, [conversations[n] for n in second], sampling)
        for n, ids in zip(second, answers, strict=True):
            conversations[n].generated(ids)
            rollouts[n].answer = encoder.tokenizer.decode(ids)
    return [rollouts[i : i + group] for i in range(0, len(rollouts), group)]


@torch.no_grad()
def _sample(
    loaded: Loaded, conversations: Sequence[Conversation], sampling: Sampling
) -> list[list[int]]:
    """Sampled ids behind each conversation, its end token included."""
    special = loaded.encoder.special
    batch = collate(conversations, special.image_pad, loaded.pad, left=True)
    device = next(loaded.model.parameters()).device
    inputs: dict[str, Any] = {k: v.to(device) for k, v in loaded.inputs(batch).items()}
    # "mm_token_type_ids" may be taken through **kwargs by generate alone.
    if "mm_token_type_ids" in batch:
        inputs.setdefault("mm_token_type_ids", batch["mm_token_type_ids"].to(device))
    was_training = loaded.model.training
    loaded.model.eval()
    out = loaded.model.generate(
        **inputs,
        do_sample=sampling.temperature > 0,
        temperature=sampling.temperature or None,
        top_p=1.0,
        top_k=0,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=special.im_end,
        pad_token_id=loaded.pad,
    )
    loaded.model.train(was_training)
    length = batch["input_ids"].shape[1]
    sampled: list[list[int]] = []
    for row in out[:, length:].tolist():
        end = row.index(special.im_end) + 1 if special.im_end in row else len(row)
        sampled.append(row[:end])
    return sampled
