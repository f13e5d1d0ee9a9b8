"""What the caller holds of a question: its state, its events and its result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Literal, TypeAlias

from awares_edge.controller import Answer, AskOptions
from awares_edge.live.events import (
    Answered,
    Cancelled,
    Ending,
    Failed,
    LiveEvent,
    Superseded,
    TooOld,
)
from awares_edge.live.frame import Frame, FrameSource

Status: TypeAlias = Literal[
    "waiting", "running", "answered", "superseded", "cancelled", "too old", "failed"
]

STATUS_OF: dict[type[LiveEvent], Status] = {
    Answered: "answered",
    Superseded: "superseded",
    Cancelled: "cancelled",
    TooOld: "too old",
    Failed: "failed",
}


class Ticket:
    """A submitted question. Any thread may use it; `LiveAsker.submit` makes it.

    Attributes:
        question: as it was asked.
        options: how it is asked.
        submitted: when, in seconds of the asker's clock.
    """

    def __init__(
        self,
        asked: Frame | FrameSource,
        question: str,
        options: AskOptions,
        *,
        submitted: float,
        cancel: Callable[[Ticket], None],
    ) -> None:
        self.question = question
        self.options = options
        self.submitted = submitted
        self.cancelled = threading.Event()
        self._frame = asked if isinstance(asked, Frame) else None
        self._source = None if isinstance(asked, Frame) else asked
        self._cancel = cancel
        self._changed = threading.Condition()
        self._events: list[LiveEvent] = []
        self._ending: Ending | None = None

    @property
    def frame(self) -> Frame | None:
        """What it is about; None while a question about a source waits."""
        return self._frame

    @property
    def status(self) -> Status:
        """Where it stands."""
        with self._changed:
            if self._ending is not None:
                return STATUS_OF[type(self._ending)]
            return "running" if self._events else "waiting"

    def done(self) -> bool:
        """Whether it has ended, with or without an answer."""
        return self._ending is not None

    def cancel(self) -> None:
        """Give it up: at once while it waits, at the next step once it runs. Does not wait."""
        self._cancel(self)

    def result(self, timeout: float | None = None) -> Answer:
        """Wait for the answer.

        Args:
            timeout: most seconds to wait. The question goes on after that.

        Raises:
            TimeoutError: it has not ended yet.
            Interrupted: it was given up: `FrameSuperseded`, `FrameTooOld`, `DeadlineExceeded` or
                `Cancelled`.
            AwaresError: it failed; see `Model.ask`. Errors of a source come through unchanged.
        """
        ending = self.wait(timeout)
        if isinstance(ending, Answered):
            return ending.answer
        raise ending.error

    def wait(self, timeout: float | None = None) -> Ending:
        """Wait for the ending, and return it instead of raising its error.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ending is not None, timeout)
            if self._ending is None:
                raise TimeoutError(f"no answer within {timeout} seconds")
            return self._ending

    def events(self, timeout: float | None = None) -> Iterator[LiveEvent]:
        """Its events from the first to its ending, as they come. A slow reader misses none.

        Args:
            timeout: seconds to wait at most in all.

        Raises:
            TimeoutError: it has not ended by then.
        """
        until = None if timeout is None else monotonic() + timeout
        seen = 0
        while True:
            left = None if until is None else until - monotonic()
            fresh, ended = self._after(seen, left)
            if not fresh:
                raise TimeoutError(f"the question has not ended within {timeout} seconds")
            yield from fresh
            seen += len(fresh)
            if ended:
                return

    def _after(self, seen: int, timeout: float | None) -> tuple[list[LiveEvent], bool]:
        """Wait for events after the first `seen`; they, and whether the last is the ending."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._events) > seen, timeout)
            return self._events[seen:], self._ending is not None

    def take_frame(self) -> Frame | None:
        """The frame to ask about, from the source if there is one. For the worker."""
        if self._source is not None:
            self._frame = self._source()
        return self._frame

    def record(self, event: LiveEvent) -> None:
        """Add an event. For the asker, which sees to it that nothing follows the ending."""
        with self._changed:
            self._events.append(event)
            if isinstance(event, Answered | Failed):
                self._ending = event
            self._changed.notify_all()
