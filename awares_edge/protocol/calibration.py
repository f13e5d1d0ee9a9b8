"""What was fitted on a model's own replies: when it looks closer, and how far it can be trusted.

Quantization changes logits. One number on the first decision restores the rate of calls, and one
number a kind of answer turns the probability of an answer into the share of such answers that are
right. A bundle's manifest holds them (`awares-edge calibrate`, docs/calibration.md).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

AnswerKind: TypeAlias = Literal["text", "closed"]

_CLOSED = re.compile(
    r"(?:yes|no|true|false|none|\d"
    r"|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|black|white|gr[ae]y|red|orange|yellow|green|blue|purple|violet|pink|brown|cyan|teal|magenta"
    r"|gold|silver)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted for one model under one profile.

    Attributes:
        protocol_sha256: hash of the profile and tokenizer that it was fitted under.
        files_sha256: hash of the files that it was fitted with.
        decision_bias: added to the logit of the token that begins a call, in the first turn.
        decision_goal: what the bias was fitted to; empty where it was not fitted.
        decision_questions: how many questions it was fitted on.
        text_temperature, closed_temperature: what the log-odds of an answer are divided by, by
            kind of answer (`answer_kind`).
        confidence_questions: how many questions the temperatures were fitted on.
    """

    protocol_sha256: str
    files_sha256: str
    decision_bias: float = 0.0
    decision_goal: str = ""
    decision_questions: int = 0
    text_temperature: float = 1.0
    closed_temperature: float = 1.0
    confidence_questions: int = 0

    def confidence(self, log_probability: float, answer: str) -> float:
        """How likely an answer is right, from the log-probability of its tokens."""
        closed = answer_kind(answer) == "closed"
        return tempered(
            log_probability, self.closed_temperature if closed else self.text_temperature
        )


NOT_CALIBRATED = Calibration("", "")
"""No bias, and probabilities as the model gives them."""


def answer_kind(answer: str) -> AnswerKind:
    """The kind of an answer, by its text: "closed" for yes or no, a count below 10 or a colour.

    These are chosen among a few, so that the model is sure of them more often than it is right.
    """
    return "closed" if _CLOSED.fullmatch(answer.strip().rstrip(".")) else "text"


def tempered(log_probability: float, temperature: float) -> float:
    """A probability with its log-odds divided by a temperature.

    Between two possible answers this is a softmax at that temperature. 1 leaves it as it is, more
    brings it closer to a half.

    Args:
        log_probability: at most 0; -inf for an impossible answer.
    """
    odds = log_odds(log_probability) / temperature
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0


def log_odds(log_probability: float) -> float:
    """Log-odds of a log-probability, within the finite: at most 700 and at least -700."""
    # 1 - p, without the rounding of p to 1.
    rest = -math.expm1(log_probability)
    odds = log_probability - math.log(rest) if rest > 0 else 700.0
    return min(700.0, max(-700.0, odds))
