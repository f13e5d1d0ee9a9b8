"""What is asked: noise pictures and shuffled questions, and replies of a fixed length.

Every question is new, so that no cache of pictures or prompts flatters the figures; every reply has
the same calls and the same number of tokens, so that all models do the same work.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from awares_edge.controller.model import Model
from awares_edge.controller.options import MAX_DECISION_BIAS
from awares_edge.evaluation.profile.job import Job
from awares_edge.evaluation.watch import WatchedSession, assistant_opening
from awares_edge.protocol.crops import WHOLE
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.runtimes.base import Logits

_QUESTION = (
    "what number stands beside the small green door under a round sign and which of these two "
    "red boxes is nearer to the left edge of the picture"
)
_WORDS = _QUESTION.split()
ANSWER = " the number is seven and it stands on the left"
_LEAD = 2 * MAX_DECISION_BIAS
"""Of a scripted token over all others: a bundle's bias on the decision to zoom changes nothing."""


def noise_picture(rng: np.random.Generator, side: int) -> Image.Image:
    """A picture of uniform noise."""
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


def shuffled_question(rng: np.random.Generator) -> str:
    """The same words in another order."""
    return " ".join(_WORDS[int(i)] for i in rng.permutation(len(_WORDS))) + "?"


def scripted_replies(model: Model, job: Job) -> list[tuple[int, ...]]:
    """Token ids of each turn's reply, end tokens included.

    Raises:
        InputError: the protocol does not offer one of the job's crops, or has no crop set.
    """
    end = model.special.im_end
    words = model.tokenizer.encode(ANSWER)
    repeats = -(-job.answer_tokens // len(words))
    answer = (*(words * repeats)[: job.answer_tokens], end)
    return [*((*call, end) for call in call_ids(model, job)), answer]


def call_ids(model: Model, job: Job) -> list[tuple[int, ...]]:
    """Token ids of each call of this mode, without end tokens; empty where it has none.

    Raises:
        InputError: the protocol does not offer one of the job's crops, or has no crop set.
    """
    return [tuple(model.tokenizer.encode(call)) for call in calls(model.protocol, job)]


def calls(protocol: ProtocolProfile, job: Job) -> list[str]:
    """Texts of each call of this mode; empty where it has none.

    Raises:
        InputError: the protocol does not offer one of the job's crops, or has no crop set.
    """
    crops = called_crops(job)
    return [protocol.crop_call(crops)] if crops else []


def called_crops(job: Job) -> tuple[str, ...]:
    """Crop ids that this mode calls for."""
    if job.variant.mode == "always-full":
        return (WHOLE,)
    return () if job.variant.mode in ("full", "low") else job.crops


class Steer:
    """Counts forward passes, and makes greedy decoding write given replies.

    The model computes everything it would; the next token of the reply is then raised above the
    others in the logits that come back.

    Args:
        model: whose conversations are steered.
        replies: ids of each turn's reply with its end token; None lets the model choose.

    Attributes:
        passes: forward passes so far.
    """

    def __init__(self, model: Model, replies: Sequence[tuple[int, ...]] | None) -> None:
        self.passes = 0
        self._opening = list(assistant_opening(model))
        self._replies = replies

    def __call__(self, session: WatchedSession, logits: Logits) -> Logits:
        self.passes += 1
        if self._replies is None:
            return logits
        ids = session.ids
        if ids[-len(self._opening) :] == self._opening:
            session.notes[len(ids)] = None  # a reply begins here
        if not session.notes:
            return logits
        turn, start = min(len(session.notes), len(self._replies)) - 1, max(session.notes)
        steered: Logits = logits.copy()
        for row, said in zip(
            steered, range(len(ids) - len(logits) + 1 - start, len(ids) + 1 - start), strict=True
        ):
            if 0 <= said < len(self._replies[turn]):
                row[self._replies[turn][said]] = row.max() + _LEAD
        return steered
