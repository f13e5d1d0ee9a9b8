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
from torch import Tensor

from awares_edge.errors import ImageError
from awares_edge.protocol import Call
from awares_edge.training.encoding import Conversation, collate
from awares_edge.training.errors import TrainingError
from awares_edge.training.loading import Loaded


@dataclass
class Rollout:
    """One sampled conversation; its labels mark exactly the sampled tokens.

    Attributes:
        crops: those that were shown: the call was complete, and they can be cut.
    """

    conversation: Conversation
    call: Call
    answer: str
    crops: tuple[str, ...] = ()


def roll_out(
    loaded: Loaded,
    prompts: Sequence[tuple[Image.Image, str]],
    group: int,
    *,
    max_new_tokens: int,
    batch: int = 64,
) -> list[list[Rollout]]:
    """``group`` conversations for each (picture, question), ``batch`` of them at a time.

    Sampled at temperature 1 from the whole distribution, as published.
    """
    encoder = loaded.encoder
    starts = [encoder.first_turn(image, question) for image, question in prompts]
    conversations = [start.copy() for start in starts for _ in range(group)]
    first = _sample(loaded, conversations, max_new_tokens, batch)
    rollouts: list[Rollout] = []
    second: list[int] = []
    for n, ids in enumerate(first):
        text = encoder.tokenizer.decode(ids)
        call = encoder.profile.call.parse(text)
        conversations[n].generated(ids)
        ended = bool(ids) and ids[-1] == encoder.special.im_end
        crops = call.ids if ended else ()
        if crops:
            shown = conversations[n].copy()
            try:
                encoder.second_turn(shown, prompts[n // group][0], crops)
            except ImageError:  # a crop of a very long picture may be too narrow to show
                crops = ()
            else:
                conversations[n] = shown
                second.append(n)
        rollouts.append(Rollout(conversations[n], call, text, crops))
    answers = _sample(loaded, [conversations[n] for n in second], max_new_tokens, batch)
    for n, ids in zip(second, answers, strict=True):
        conversations[n].generated(ids)
        rollouts[n].answer = encoder.tokenizer.decode(ids)
    return [rollouts[i : i + group] for i in range(0, len(rollouts), group)]


def _sample(
    loaded: Loaded, conversations: Sequence[Conversation], max_new_tokens: int, batch: int
) -> list[list[int]]:
    """Sampled ids that follow each conversation, the end token included."""
    sampled: list[list[int]] = []
    for start in range(0, len(conversations), batch):
        sampled += _sample_batch(loaded, conversations[start : start + batch], max_new_tokens)
    return sampled


@torch.no_grad()
def _sample_batch(
    loaded: Loaded, conversations: Sequence[Conversation], max_new_tokens: int
) -> list[list[int]]:
    special = loaded.encoder.special
    batch = collate(conversations, special.image_pad, loaded.pad, left=True)
    device = next(loaded.model.parameters()).device
    inputs: dict[str, Any] = {k: v.to(device) for k, v in loaded.inputs(batch).items()}
    was_training = loaded.model.training
    loaded.model.eval()
    try:
        out = _generate(loaded, inputs, max_new_tokens)
    except RuntimeError as error:
        if "probability tensor" not in str(error):
            raise
        raise TrainingError(
            "the model's probabilities are NaN or infinite: lower the learning rate"
        ) from error
    finally:
        loaded.model.train(was_training)
    length = batch["input_ids"].shape[1]
    rows: list[list[int]] = []
    for row in out[:, length:].tolist():
        end = row.index(special.im_end) + 1 if special.im_end in row else len(row)
        rows.append(row[:end])
    return rows


def _generate(loaded: Loaded, inputs: dict[str, Any], max_new_tokens: int) -> Tensor:
    # An image token in a reply has no image: the forward pass of training would refuse it.
    named = (loaded.encoder.tokenizer.id_of(t) for t in ("<|image_pad|>", "<|video_pad|>"))
    out: Tensor = loaded.model.generate(
        **inputs,
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        max_new_tokens=max_new_tokens,
        suppress_tokens=[i for i in named if i is not None],
        eos_token_id=loaded.encoder.special.im_end,
        pad_token_id=loaded.pad,
    )
    return out
