"""How to ask one question."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import get_args

from awares_edge.controller.grammar import AnswerGrammar
from awares_edge.controller.policies import Policies
from awares_edge.controller.trace import Mode
from awares_edge.errors import InputError

MAX_DECISION_BIAS = 10_000
"""Far above any logit: the model always calls, or never."""


@dataclass(frozen=True, slots=True)
class AskOptions:
    """How to ask.

    Attributes:
        mode: "awares": as the protocol says; "progressive": the crop set may be used again inside
            a crop, up to `max_calls` times; or a baseline through the same code: "full" shows the
            whole picture at full resolution at once, "low" never zooms.
        max_new_tokens: most tokens of one turn; None for the protocol's own limit.
        max_calls: most calls of the question; None for the protocol's own limit (3 in mode
            "progressive").
        follow_up: keep the conversation about this picture so far in context.
        timeout: seconds until `DeadlineExceeded`; None for no deadline.
        cancel: an event that raises `Cancelled` as soon as it is set.
        policies: see `Policies`.
        crops: crop ids to zoom into without asking the model whether and where.
        constrain: hold a tool call to its grammar once it has begun. Decisions that make a valid
            call are the same without; what would become an invalid call is mended.
        grammar: what the answer is held to; None for free text. Needs `constrain`.
        decision_bias: added to the logit of the token that begins a call, at the first token of
            the first turn: above 0 more calls, below 0 fewer. None for the bundle's calibrated
            bias. Only for protocols whose replies begin with the call, as AwaRes' do.
    """

    mode: Mode = "awares"
    max_new_tokens: int | None = None
    max_calls: int | None = None
    follow_up: bool = False
    timeout: float | None = None
    cancel: threading.Event | None = None
    policies: Policies = field(default_factory=Policies)
    crops: tuple[str, ...] = ()
    constrain: bool = True
    grammar: AnswerGrammar | None = None
    decision_bias: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InputError(f"no mode {self.mode!r}: choose one of {', '.join(get_args(Mode))}")
        for name in ("max_new_tokens", "max_calls"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise InputError(f"{name} must be a whole number of at least 1")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError("timeout must be above 0 seconds")
        if self.grammar is not None and not self.constrain:
            raise InputError("an answer grammar needs constrain=True")
        if self.grammar is not None and self.policies.abstain_below is not None:
            raise InputError(
                "an answer that is withheld would break the answer grammar: leave abstain_below "
                "out, and read the answer's confidence"
            )
        bias = self.decision_bias
        if bias is not None and not (_is_number(bias) and abs(bias) <= MAX_DECISION_BIAS):
            raise InputError(
                f"decision_bias must be between -{MAX_DECISION_BIAS:,} and {MAX_DECISION_BIAS:,}"
            )
        if self.crops and self.mode in ("full", "low"):
            raise InputError(f"mode {self.mode!r} sends no crops: leave them out")
        if bias is not None and (self.crops or self.mode in ("full", "low")):
            why = "crops are given" if self.crops else f"mode {self.mode!r} never zooms"
            raise InputError(f"{why}, so the model does not decide: leave decision_bias out")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
