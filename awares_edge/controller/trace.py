"""What happened in one answer, by turn and phase: what every report is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, TypeAlias

from awares_edge.protocol.budget import VisualTokens
from awares_edge.protocol.call import CallStatus
from awares_edge.protocol.crops import Box

Mode: TypeAlias = Literal["awares", "full", "low", "progressive"]
View: TypeAlias = Literal["low", "full"]
Phase: TypeAlias = Literal["preprocess", "vision", "prefill", "decode"]

PHASES: tuple[Phase, ...] = ("preprocess", "vision", "prefill", "decode")
COUNTS = ("prefill_tokens", "reused_tokens", "decode_tokens", "discarded_tokens", "reused_regions")


@dataclass(slots=True)
class TurnTrace:
    """Tokens and time of one turn.

    Attributes:
        reused_tokens: KV cells that were there when the turn began.
        prefill_tokens: tokens of the prompt that were appended, visual ones included.
        decode_tokens: tokens that the model generated, its end token included.
        discarded_tokens: tokens that were computed and then rewound: fixed text of a call that the
            model did not choose, and calls that were taken back.
        reused_regions: regions whose vision features were kept from an earlier question.
        ms: milliseconds by phase. "preprocess" is resizing and cutting, "vision" the vision tower.
        unreported: names of counts above, and phases, that a server did not report. Their values
            are 0; `Answer.to_dict` has null in their place.
    """

    reused_tokens: int = 0
    prefill_tokens: int = 0
    decode_tokens: int = 0
    discarded_tokens: int = 0
    reused_regions: int = 0
    ms: dict[Phase, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    unreported: frozenset[str] = frozenset()

    @contextmanager
    def time(self, phase: Phase) -> Iterator[None]:
        """Add the time of a `with` block to a phase."""
        start = perf_counter()
        try:
            yield
        finally:
            self.ms[phase] += (perf_counter() - start) * 1e3

    def count(self, name: str) -> int | None:
        """A count by its name; None where it was not reported."""
        value: int = getattr(self, name)
        return None if name in self.unreported else value

    def spent(self, phase: Phase) -> float | None:
        """Milliseconds of a phase; None where they were not reported."""
        return None if phase in self.unreported else round(self.ms[phase], 3)


@dataclass(frozen=True, slots=True)
class ZoomedCrop:
    """A region that was sent.

    Attributes:
        id: "0" to "8", or "all"; empty for a free box.
        name: such as "top-left"; "box" for a free one.
        box: pixels of the user's picture.
        tokens: its visual tokens.
        size: (width, height) in pixels as it was sent.
        turn: of the call that asked for it, from 0.
    """

    id: str
    name: str
    box: Box
    tokens: int
    size: tuple[int, int] = (0, 0)
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and how it came about.

    Attributes:
        text: the answer.
        reasoning: what the model said around it: its thoughts, of all turns; empty for AwaRes.
        reasoning_tokens: length of `reasoning` in tokens; None where a server did not report it.
        mode: "awares", "progressive" (calls inside crops), or a baseline: "full" (whole picture
            at once), "low" (never zoom).
        view: what the model was shown first: "low" (the low-res view) or "full" (the picture).
        crops: crops that were sent, in order; empty for a direct answer.
        call_status: of the model's last call: none, ok, repaired or invalid.
        call_text: the last reply with a call, as generated; empty if there was none.
        visual_tokens: spent on the first view and on crops, and the cost of the whole picture.
        pixel_ratio: the figure that the released evaluator reports instead of the RTR.
        turns: one trace a turn.
        policies: what policies decided instead of the model, as "policy:outcome".
        finish: "stop" (the model ended it) or "length" (token limit or full context).
        total_ms: wall time of the question, milliseconds.
        confidence: how likely the answer is right, 0 to 1: the probability of its tokens, at the
            bundle's calibrated temperature. Under an answer grammar: among what it allows. None
            where a server does not report it.
        log_probability: of the answer's tokens, natural logarithm, before calibration; None where a
            server does not report it.
        decision_margin: logit of the token that begins a call, less the largest other one, at the
            first token of the first turn and before the bias; None where that token decides
            nothing: no call was possible, or the model thinks first.
        decision_bias: what was added to that token's logit.
        withheld: the answer, where it was less sure than `Policies.abstain_below` and `text` says
            "unsure" instead; None where it was given.
    """

    text: str
    mode: Mode
    view: View
    crops: tuple[ZoomedCrop, ...]
    call_status: CallStatus
    call_text: str
    visual_tokens: VisualTokens
    pixel_ratio: float
    turns: tuple[TurnTrace, ...]
    policies: tuple[str, ...]
    finish: Literal["stop", "length"]
    total_ms: float
    runtime: str
    precision: str
    protocol: str
    reasoning: str = ""
    reasoning_tokens: int | None = 0
    confidence: float | None = 1.0
    log_probability: float | None = 0.0
    decision_margin: float | None = None
    decision_bias: float = 0.0
    withheld: str | None = None

    @property
    def rtr(self) -> float:
        """Retained-token ratio: visual tokens over those of the whole picture."""
        return self.visual_tokens.rtr

    @property
    def zoomed(self) -> bool:
        return bool(self.crops)

    def _reasoning(self) -> dict[str, Any]:
        if not self.reasoning:
            return {}
        return {"reasoning": self.reasoning, "reasoning_tokens": self.reasoning_tokens}

    def to_dict(self) -> dict[str, Any]:
        """The object that `awares-edge ask --json` prints; lists by turn have at least two."""
        turns = [*self.turns, *(TurnTrace() for _ in range(2 - len(self.turns)))]
        tokens = self.visual_tokens
        return {
            "answer": self.text,
            **self._reasoning(),
            **({} if self.withheld is None else {"withheld": self.withheld}),
            "confidence": _rounded(self.confidence),
            "mode": self.mode,
            "crops": [crop.id for crop in self.crops],
            "boxes": [list(crop.box) for crop in self.crops],
            "call_status": self.call_status,
            "decision_margin": _rounded(self.decision_margin),
            "decision_bias": _rounded(self.decision_bias),
            "visual_tokens": {"low": tokens.low, "crops": tokens.crops, "full": tokens.full},
            "rtr": round(self.rtr, 6),
            "pixel_ratio": round(self.pixel_ratio, 6),
            **{name: [turn.count(name) for turn in turns] for name in COUNTS},
            "timings_ms": {
                **{phase: [turn.spent(phase) for turn in turns] for phase in PHASES},
                "total": round(self.total_ms, 3),
            },
            "policies": list(self.policies),
            "finish": self.finish,
            "runtime": self.runtime,
            "precision": self.precision,
            "protocol": self.protocol,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, as soon as it is certain."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of what the model says around its answer (its thoughts), as soon as it is certain."""

    text: str


@dataclass(frozen=True, slots=True)
class CropsRequested:
    """The model looks closer: these regions are being read now."""

    crops: tuple[ZoomedCrop, ...]


Event: TypeAlias = TextDelta | ReasoningDelta | CropsRequested | Answer
"""What a stream yields; the last one is always the `Answer`."""
