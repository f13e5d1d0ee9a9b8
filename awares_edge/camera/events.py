"""What happens at a station, for any number of readers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias

from awares_edge.camera.exchange import Exchange, Looked
from awares_edge.camera.load import Load

_KEPT = 1024


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The camera, the source, the standing question or the recording has changed.

    Attributes:
        camera: "connecting", "live", "lost", "frozen" or "closed".
        text: one line: the source and its size, or why the camera is lost.
        source: spec of the source.
        question: that is asked continuously; empty for none.
        asking: id of the exchange that is being answered; 0 for none.
        recording: whether frames and answers are written down.
        suggestions: questions that make sense for the source now.
    """

    kind: ClassVar = "state"
    camera: str
    text: str
    source: str
    question: str
    asking: int
    recording: bool
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """An exchange has begun."""

    kind: ClassVar = "asked"
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of what the model says around its answer."""

    kind: ClassVar = "thought"
    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    kind: ClassVar = "text"
    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Regions:
    """The model looks closer."""

    kind: ClassVar = "regions"
    id: int
    regions: tuple[Looked, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """An exchange has ended with an answer."""

    kind: ClassVar = "answer"
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A continuous question was not asked again: all that the model saw looks the same.

    Attributes:
        id: of the exchange whose answer is still right.
        frame: number of the frame that looks the same.
    """

    kind: ClassVar = "unchanged"
    id: int
    frame: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An exchange was cancelled or failed, or could not begin (its id is then 0).

    Attributes:
        cancelled: whether it was cancelled, which is nobody's fault.
    """

    kind: ClassVar = "error"
    id: int
    message: str
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    """Numbers for counters and sparklines, once a second.

    Attributes:
        fps: frames a second that arrive.
        frames, skipped: counts since the source was chosen.
        answers: exchanges that ended with an answer.
        zoomed: how many of them looked closer.
        last_ms, average_ms: wall time of the last question, and mean of the last 20.
        visual_tokens: spent in all; `full_tokens` is what whole pictures would have cost.
        views: first views that were needed; `kept_views` of them had their KV kept from a frame
            that looked the same. `regions` and `kept_regions` count regions likewise.
        kept_tokens: visual tokens that were not computed again because of that.
        unchanged: how often a continuous question was not asked again, as nothing had changed.
        joules: energy of all questions; None where nothing measures it.
        load: of the machine.
    """

    kind: ClassVar = "stats"
    fps: float
    frames: int
    skipped: int
    answers: int
    zoomed: int
    last_ms: float | None
    average_ms: float | None
    visual_tokens: int
    full_tokens: int
    views: int
    kept_views: int
    regions: int
    kept_regions: int
    kept_tokens: int
    unchanged: int
    joules: float | None
    load: Load


Payload: TypeAlias = (
    StateChanged | Asked | Thought | Text | Regions | Answered | Unchanged | Failed | Stats
)


@dataclass(frozen=True, slots=True)
class StationEvent:
    """Something that happened.

    Attributes:
        number: counts the events, from 1, without gaps.
        event: what.
    """

    number: int
    event: Payload

    def to_dict(self) -> dict[str, Any]:
        """A JSON object: "number", "kind", and the fields of the event."""
        event = self.event
        if isinstance(event, (Asked, Answered)):
            fields: dict[str, Any] = {"exchange": event.exchange.to_dict()}
        else:
            fields = asdict(event)
        return {"number": self.number, "kind": event.kind, **fields}


class EventLog:
    """Events in order. Readers ask for what came after the last one that they saw.

    The oldest are forgotten; a reader that is far behind sees a gap in the numbers.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: deque[StationEvent] = deque(maxlen=_KEPT)
        self._last = 0
        self._closed = False

    @property
    def last(self) -> int:
        """Number of the newest event; 0 before the first."""
        return self._last

    @property
    def closed(self) -> bool:
        return self._closed

    def add(self, event: Payload) -> None:
        with self._changed:
            self._last += 1
            self._events.append(StationEvent(self._last, event))
            self._changed.notify_all()

    def after(self, number: int, timeout: float | None = 0.0) -> list[StationEvent]:
        """Events after `number`, waited for up to `timeout` seconds (None: without limit)."""
        with self._changed:
            self._changed.wait_for(lambda: self._last > number or self._closed, timeout)
            new = self._last - number
            if new <= 0:
                return []
            return list(self._events)[-new:]

    def follow(self, number: int) -> Iterator[StationEvent]:
        """Events after `number` as they come, until the log is closed."""
        while True:
            events = self.after(number, timeout=None)
            yield from events
            if events:
                number = events[-1].number
            elif self._closed:
                return

    def close(self) -> None:
        """End every `follow`; no event comes after it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
