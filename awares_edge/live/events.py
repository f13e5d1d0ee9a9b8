"""What happens to a question, as typed events.

    waiting ── Started ── (Thought | Text | Regions)* ── Answered | Cancelled | TooOld | Failed
       └────── Superseded | Cancelled | TooOld | Failed

Every question ends with exactly one ending, after all its other events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from awares_edge import errors
from awares_edge.controller import Answer, ZoomedCrop

if TYPE_CHECKING:
    from awares_edge.live.ticket import Ticket


@dataclass(frozen=True, slots=True, eq=False)
class LiveEvent:
    """Something that happened to a question.

    Attributes:
        ticket: of the question; it has the frame, and the frame its stamp.
        at: when, in seconds of the asker's clock (`time.monotonic()`).
    """

    ticket: Ticket
    at: float


@dataclass(frozen=True, slots=True, eq=False)
class Started(LiveEvent):
    """The worker has the frame and begins."""


@dataclass(frozen=True, slots=True, eq=False)
class Thought(LiveEvent):
    """A piece of what the model says around its answer."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Text(LiveEvent):
    """A piece of the answer, or, before `Regions`, of what led up to the call."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Regions(LiveEvent):
    """The model looks closer at these regions."""

    crops: tuple[ZoomedCrop, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answered(LiveEvent):
    """The answer came in time."""

    answer: Answer


@dataclass(frozen=True, slots=True, eq=False)
class Failed(LiveEvent):
    """There is no answer. Its subclasses are not faults: the question was given up.

    Attributes:
        error: what `Ticket.result` raises.
    """

    error: BaseException


@dataclass(frozen=True, slots=True, eq=False)
class Superseded(Failed):
    """A question about a newer frame took its place before it began."""


@dataclass(frozen=True, slots=True, eq=False)
class Cancelled(Failed):
    """The caller cancelled it, or closed the asker."""


@dataclass(frozen=True, slots=True, eq=False)
class TooOld(Failed):
    """The frame was too old to begin, or the deadline passed before the answer was complete."""


Ending: TypeAlias = Answered | Failed
"""The last event of a question."""


def failure(ticket: Ticket, at: float, error: BaseException) -> Failed:
    """The ending that an error means."""
    match error:
        case errors.FrameSuperseded():
            return Superseded(ticket, at, error)
        case errors.Cancelled():
            return Cancelled(ticket, at, error)
        case errors.FrameTooOld() | errors.DeadlineExceeded():
            return TooOld(ticket, at, error)
        case _:
            return Failed(ticket, at, error)
