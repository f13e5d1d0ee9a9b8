"""What is kept of a model that was asked: its decisions, its answers, and for some its numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.controller.model import Model
from awares_edge.evaluation.watch import PlacedImage, turn_starts
from awares_edge.protocol.crops import Box
from awares_edge.vision.patches import Patches

Floats: TypeAlias = NDArray[np.float32]
Region: TypeAlias = tuple[str, Box]
"""A crop's id (empty for a box without one) and its pixels in the user's picture."""

PHASES = ("first turn", "call", "after crops", "decode")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn as tokens.

    Attributes:
        prompt: what was appended before the model spoke: runs of token ids, and numbers of
            pictures (0 for the first picture of the conversation).
        reply: ids that the model generated, without the end token.
    """

    prompt: tuple[tuple[int, ...] | int, ...]
    reply: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one question.

    Attributes:
        sha256: of question and picture.
        size: (width, height) of the picture in pixels.
        called: whether the model called for crops, validly or not.
        calls: for each call that was followed, the regions that were sent.
        answer: the text of the answer.
        right: whether it is the expected one; None where none is known.
        warm: whether the same question, asked again with everything kept, got the same regions and
            the same answer.
        replies: token ids of each turn's reply.
        margins: for each of these tokens and for the end token, how far the first choice was
            ahead of the second, as a share of the logits' standard deviation.
    """

    sha256: str
    question: str
    size: tuple[int, int]
    called: bool
    calls: tuple[tuple[Region, ...], ...]
    answer: str
    right: bool | None
    warm: bool
    replies: tuple[tuple[int, ...], ...]
    margins: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """The numbers behind one question.

    Attributes:
        turns: the conversation that was replayed.
        view: the pixels that this model's own preprocessing gave for the first view.
        images: the pixels that were replayed, in order.
        features: of each of `images` after the vision tower, float32 [tokens, hidden]; None where
            a runtime does not show them.
        logits: float32 [rows, vocabulary]; see `row_phases`.
        reuse_drift: largest difference between the logits of a cache that was rewound to the
            picture and reused, and those of a new one, as a share of their standard deviation.
    """

    turns: tuple[Turn, ...]
    view: Patches
    images: tuple[Patches, ...]
    features: tuple[Floats | None, ...]
    logits: Floats
    reuse_drift: float


@dataclass(frozen=True, slots=True)
class Recording:
    """A model, asked.

    Attributes:
        about: model, runtime, precision, device, protocol and its hash, questions and their hash,
            versions, machine.
        rows: one a question.
        probes: by number of the question.
    """

    about: dict[str, Any]
    rows: tuple[Row, ...]
    probes: dict[int, Probe]


def split_turns(
    ids: Sequence[int], images: Sequence[PlacedImage], opening: Sequence[int], ends: Sequence[int]
) -> tuple[Turn, ...]:
    """A cache's content by turns.

    Args:
        ids: one a cell, as `WatchedSession.ids`.
        images: the pictures in it.
        opening: ids that open a reply.
        ends: ids that end one.
    """
    turns, done = [], 0
    for start in turn_starts(ids, opening):
        end = start
        while end < len(ids) and ids[end] not in ends:
            end += 1
        turns.append(Turn(_parts(ids, images, done, start), tuple(ids[start:end])))
        done = end
    return tuple(turns)


def _parts(
    ids: Sequence[int], images: Sequence[PlacedImage], start: int, end: int
) -> tuple[tuple[int, ...] | int, ...]:
    parts: list[tuple[int, ...] | int] = []
    for number, placed in enumerate(images):
        if start <= placed.cell < end:
            parts += [tuple(ids[start : placed.cell]), number]
            start = placed.end
    parts.append(tuple(ids[start:end]))
    return tuple(part for part in parts if part != ())


def row_phases(turns: Sequence[Turn]) -> list[str]:
    """The phase of each row of `Probe.logits`.

    A turn has a row after its prompt and one after each token of its reply.
    """
    phases = []
    for index, turn in enumerate(turns):
        last = index == len(turns) - 1
        phases.append("after crops" if index else "first turn")
        phases += ["decode" if last else "call"] * len(turn.reply)
    return phases


def protocol_sha256(model: Model) -> str:
    """One hash over all that decides what a model is shown and how its text is read.

    The tokenizer counts by what it makes of the system prompt, so that a checkpoint and the bundles
    made of it agree.
    """
    pinned = {
        "protocol": asdict(model.protocol),
        "preprocessing": asdict(model.preprocessing),
        "tokens": asdict(model.special),
        "system": model.prompt.system(),
    }
    text = json.dumps(pinned, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
