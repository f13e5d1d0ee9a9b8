"""One question about one frame, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from PIL import Image

from awares_edge.controller.trace import Phase
from awares_edge.protocol.crops import Box

Point: TypeAlias = "tuple[float, float]"
ExchangeState: TypeAlias = Literal["running", "done", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Looked:
    """A region that the model looked at closely.

    Attributes:
        id: of a crop of the fixed set, "0" to "8" or "all"; empty for a free box.
        name: such as "top-left"; "box" for a free one.
        box: around it, pixels of the frame: (left, top, right, bottom).
        corners: of it, pixels of the frame, clockwise from the top left. They differ from the box
            where the picture that the model saw was straightened.
        tokens: visual tokens.
    """

    id: str
    name: str
    box: Box
    corners: tuple[Point, Point, Point, Point]
    tokens: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, the frame it was asked about, and its answer.

    Attributes:
        id: counts the exchanges of a station, from 1.
        question_id: what `Station.ask` returned; the exchanges of a continuous question share it.
        question: as asked.
        follow_up: whether it was asked about the frame of the exchange before.
        continuous: whether it is asked again and again.
        frame: number of the frame.
        frame_size: (width, height) of the frame.
        frame_age_ms: how old the frame was when the question began.
        asked_at: seconds since 1970.
        state: "running" until it is "done", "cancelled" or "failed".
        answer, reasoning: text so far; final where done.
        regions: what the model looked at closely; empty for a direct answer.
        visual_tokens: {"low", "crops", "full"}.
        rtr: retained-token ratio, 0 before the end.
        turns_ms: milliseconds by phase of each turn.
        total_ms: wall time of the question.
        joules: energy of the whole machine during the exchange; None if there is no sensor.
        confidence: how likely the answer is right, 0 to 1; None where the model does not say.
        abstained: whether the answer was withheld because of it; `answer` is then "unsure".
        withheld: the answer that was; empty for none.
        kept_view: whether the first view looked as in an earlier frame, whose KV was used.
        kept_regions: regions whose features were kept.
        note: how the frame was changed before the model saw it; empty if it was not.
        error: why it failed, one line.
        policies: what policies decided instead of the model.
        thumbnail: JPEG of the frame; empty once it is no longer kept.
    """

    id: int
    question_id: int
    question: str
    follow_up: bool
    continuous: bool
    frame: int
    frame_size: tuple[int, int]
    frame_age_ms: float
    asked_at: float
    state: ExchangeState = "running"
    answer: str = ""
    reasoning: str = ""
    regions: tuple[Looked, ...] = ()
    visual_tokens: dict[str, int] = field(default_factory=dict)
    rtr: float = 0.0
    turns_ms: tuple[dict[Phase, float], ...] = ()
    total_ms: float = 0.0
    joules: float | None = None
    confidence: float | None = None
    abstained: bool = False
    withheld: str = ""
    kept_view: bool = False
    kept_regions: int = 0
    note: str = ""
    error: str = ""
    policies: tuple[str, ...] = ()
    thumbnail: bytes = field(default=b"", repr=False)

    @property
    def zoomed(self) -> bool:
        return bool(self.regions)

    @property
    def badge(self) -> str:
        """ "zoomed" or "direct"; empty while running, and for what failed before it zoomed."""
        if self.regions:
            return "zoomed"
        return "direct" if self.state == "done" else ""

    @property
    def path(self) -> str:
        """How the answer came about: "direct" or "zoomed: top-left, ..."; empty as for `badge`."""
        if self.regions:
            return "zoomed: " + ", ".join(region.name for region in self.regions)
        return self.badge

    def to_dict(self) -> dict[str, Any]:
        """A JSON object: all but the thumbnail."""
        return {
            "id": self.id,
            "question_id": self.question_id,
            "question": self.question,
            "follow_up": self.follow_up,
            "continuous": self.continuous,
            "frame": self.frame,
            "frame_size": list(self.frame_size),
            "frame_age_ms": round(self.frame_age_ms, 1),
            "asked_at": round(self.asked_at, 3),
            "state": self.state,
            "answer": self.answer,
            "reasoning": self.reasoning,
            "badge": self.badge,
            "path": self.path,
            "regions": [
                {
                    "id": region.id,
                    "name": region.name,
                    "box": list(region.box),
                    "corners": [[round(x, 1), round(y, 1)] for x, y in region.corners],
                    "tokens": region.tokens,
                }
                for region in self.regions
            ],
            "visual_tokens": self.visual_tokens,
            "rtr": round(self.rtr, 6),
            "turns_ms": [{k: round(v, 3) for k, v in turn.items()} for turn in self.turns_ms],
            "total_ms": round(self.total_ms, 3),
            "joules": None if self.joules is None else round(self.joules, 3),
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "abstained": self.abstained,
            "withheld": self.withheld,
            "kept_view": self.kept_view,
            "kept_regions": self.kept_regions,
            "note": self.note,
            "error": self.error,
            "policies": list(self.policies),
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model saw in one exchange: RGB images.

    Attributes:
        first: the first view.
        crops: (name, picture) of each region, in the order in which they were sent.
    """

    first: Image.Image
    crops: tuple[tuple[str, Image.Image], ...]
