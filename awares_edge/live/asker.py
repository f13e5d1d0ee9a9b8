"""Answers questions about frames on one worker thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

from awares_edge.controller import Answer, Askable, AskOptions
from awares_edge.errors import Cancelled, FrameSuperseded, InputError, SessionError
from awares_edge.live.asking import Asking, TimeLimits
from awares_edge.live.courier import Courier, Subscriber
from awares_edge.live.events import Answered, Ending, LiveEvent, failure
from awares_edge.live.frame import Frame, FrameSource
from awares_edge.live.line import Line, Policy
from awares_edge.live.ticket import STATUS_OF, Ticket

_PATIENCE = 2.0  # seconds that `close` waits for a subscriber


class LiveAsker:
    """Asks a model about frames, one question at a time, on its own thread.

    Close it before the model, or use `with`. Any thread may submit, cancel and close. Several
    askers may share a model: one for each camera, say.

    Args:
        model: on this machine or behind an endpoint. It is not closed with the asker.
        max_age_ms: a question is not asked if its frame is older when its turn comes.
        deadline_ms: most milliseconds from when a frame was taken to the complete answer.
        policy: which questions wait while the worker is busy; see `Policy`.
        most_waiting: questions that may wait; `submit` refuses others.
        backlog: events that may wait for subscribers.
        clock: seconds; the one that `Frame.taken` was read from.
    """

    def __init__(
        self,
        model: Askable,
        *,
        max_age_ms: float | None = None,
        deadline_ms: float | None = None,
        policy: Policy = "newest",
        most_waiting: int = 8,
        backlog: int = 1024,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        limits = TimeLimits(max_age_ms, deadline_ms, clock)
        if type(backlog) is not int or backlog < 1:
            raise InputError("backlog must be a whole number of at least 1")
        self._clock = clock
        self._line = Line(policy, most_waiting)
        self._changed = threading.Condition()
        self._running: Ticket | None = None
        self._closed = False
        self._counts: Counter[str] = Counter()
        self._courier = Courier(backlog)
        self._asking = Asking(model, limits, self._publish)
        self._worker = threading.Thread(target=self._work, name="live-asker", daemon=True)
        self._worker.start()

    def submit(
        self,
        asked: Frame | FrameSource,
        question: str,
        options: AskOptions | None = None,
        *,
        follow_up: bool = False,
    ) -> Ticket:
        """Ask about a frame, or about the frame that a source gives when the worker is free.

        A question about the same frame as the one before it uses what was computed of it. Does not
        wait for the answer; see `Ticket`.

        Args:
            follow_up: keep the questions before this one, about the same frame, in context. For
                the frame of an earlier question pass `ticket.frame`.

        Raises:
            QueueFull: as many questions wait as may.
            InputError: the options have a `cancel`: use the ticket's.
            SessionError: this asker is closed.
        """
        options = options or AskOptions()
        if options.cancel is not None:
            raise InputError("cancel a live question by its ticket: leave AskOptions.cancel out")
        if follow_up:
            options = replace(options, follow_up=True)
        ticket = Ticket(asked, question, options, submitted=self._clock(), cancel=self._cancel)
        with self._changed:
            if self._closed:
                raise SessionError("this asker is closed: make a new one")
            for older in self._line.add(ticket):
                self._fail(older, FrameSuperseded("a question about a newer frame came"))
            self._changed.notify_all()
        return ticket

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call this with every event of every question, on one thread and in order.

        A subscriber may take its time: the worker does not wait for it. One that falls far behind
        (`backlog`) misses pieces of text first, then endings; `dropped_events` counts them.

        Returns:
            a function that ends the subscription.
        """
        return self._courier.subscribe(subscriber)

    @property
    def waiting(self) -> int:
        """Questions that wait."""
        return len(self._line)

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return self._running is not None

    @property
    def dropped_events(self) -> int:
        """Events that subscribers missed because they were too slow."""
        return self._courier.dropped

    def counts(self) -> dict[str, int]:
        """Questions that have ended, by `Ticket.status`."""
        with self._changed:
            return dict(self._counts)

    def close(self) -> None:
        """Cancel what runs and what waits, join the threads, and close the picture.

        Waits for the step that is being computed. Closing twice is allowed.
        """
        with self._changed:
            self._closed = True
            for ticket in self._line.clear():
                self._fail(ticket, Cancelled("the asker was closed"))
            if self._running is not None:
                self._running.cancelled.set()
            self._changed.notify_all()
        if threading.current_thread() is not self._worker:
            self._worker.join()
        self._courier.close(_PATIENCE)

    def __enter__(self) -> LiveAsker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cancel(self, ticket: Ticket) -> None:
        with self._changed:
            ticket.cancelled.set()
            if self._line.remove(ticket):
                self._fail(ticket, Cancelled("the question was cancelled while it waited"))

    def _work(self) -> None:
        try:
            while (ticket := self._next()) is not None:
                try:
                    answer = self._asking.answer(ticket)
                # A source or backend may raise anything: the ticket ends, the worker goes on.
                except BaseException as error:
                    self._end(ticket, error)
                else:
                    self._end(ticket, answer)
        finally:
            self._asking.close()

    def _next(self) -> Ticket | None:
        """Wait for the next question; None when this is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._line))
            self._running = None if self._closed else self._line.pop()
            return self._running

    def _end(self, ticket: Ticket, outcome: Answer | BaseException) -> None:
        with self._changed:
            self._running = None
            if isinstance(outcome, Answer):
                self._finish(Answered(ticket, self._clock(), outcome))
            else:
                self._fail(ticket, outcome)

    def _fail(self, ticket: Ticket, error: BaseException) -> None:
        self._finish(failure(ticket, self._clock(), error))

    def _finish(self, ending: Ending) -> None:
        """Count first: then a caller who sees the result sees its count too."""
        self._counts[STATUS_OF[type(ending)]] += 1
        self._publish(ending)

    def _publish(self, event: LiveEvent) -> None:
        event.ticket.record(event)
        self._courier.put(event)
