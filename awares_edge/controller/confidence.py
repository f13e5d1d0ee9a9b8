"""How likely a reply was, token by token, and the policy that withholds an unsure answer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from awares_edge.controller.policies import ABSTAIN
from awares_edge.controller.trace import Answer, Event, TextDelta
from awares_edge.errors import Interrupted
from awares_edge.protocol.tokenizer import TextTokenizer
from awares_edge.runtimes.base import Logits

UNSURE = "unsure"
"""What stands in place of an answer that is withheld."""


class TokenScores:
    """Log-probabilities of a reply's tokens, its end token included."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def note(self, place: int, token: int, logits: Logits) -> None:
        """Note the token that was chosen behind the first `place` tokens, from these logits.

        Tokens from there on are forgotten, because they were removed from the reply.
        """
        del self._values[place:]
        self._values.append(log_probability(logits, token))

    def first(self, count: int) -> tuple[float, ...]:
        """Of the first `count` tokens."""
        return tuple(self._values[:count])


def log_probability(logits: Logits, token: int) -> float:
    """Log of a token's softmax probability, exact where it is nearly 1."""
    others = np.exp(np.minimum(logits - logits[token], 80.0))
    others[token] = 0.0
    return -math.log1p(float(others.sum(dtype=np.float64)))


def answer_log_probability(
    tokenizer: TextTokenizer,
    ids: tuple[int, ...],
    scores: tuple[float, ...],
    answer: str,
) -> float:
    """Log-probability of the answer in the last turn.

    All tokens count where the answer is all of the reply, its end token included; otherwise those
    that hold a part of its last occurrence. 0, which is certainty, is never returned for an answer
    that is not in the reply: then all tokens count as well.

    Args:
        ids: of the reply.
        scores: one a token, and one for the end token if the model ended the reply.
    """
    stream, ends, text = tokenizer.stream(), list[int](), ""
    for token in ids:
        text += "".join(stream.feed([token]))
        ends.append(len(text))
    start = text.rfind(answer)
    if not answer or start < 0 or text.strip() == answer:
        return sum(scores)
    stop, begin, total = start + len(answer), 0, 0.0
    for end, score in zip(ends, scores, strict=False):
        if end > start and begin < stop:
            total += score
        begin = end
    return total


def withhold(events: Iterator[Event], threshold: float) -> Iterator[Event]:
    """The same events, with an answer below `threshold` withheld.

    Text is given once it is certain that it may be shown: in one piece, before the `Answer`. So a
    question that is interrupted has no partial answer.
    """
    try:
        yield from _withheld(events, threshold)
    except Interrupted as error:
        error.partial = ""
        raise


def _withheld(events: Iterator[Event], threshold: float) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Answer):
            if event.confidence is not None and event.confidence < threshold:
                policy = f"{ABSTAIN}:{event.confidence:.3f} is below {threshold:g}"
                event = replace(
                    event,
                    text=UNSURE,
                    withheld=event.text,
                    policies=(*event.policies, policy),
                )
            yield TextDelta(event.text)
        if not isinstance(event, TextDelta):
            yield event
