"""The worker's part: one question about one frame, within its time, on the picture that is open."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from awares_edge.controller import (
    Answer,
    Askable,
    AskOptions,
    CropsRequested,
    OpenPicture,
    ReasoningDelta,
    TextDelta,
)
from awares_edge.errors import DeadlineExceeded, FrameTooOld, InputError, Interrupted
from awares_edge.live.events import LiveEvent, Regions, Started, Text, Thought
from awares_edge.live.frame import Frame
from awares_edge.live.ticket import Ticket


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How old a frame may be; see `LiveAsker`."""

    max_age_ms: float | None
    deadline_ms: float | None
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        for name in ("max_age_ms", "deadline_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be above 0 and finite")

    def left(self, frame: Frame) -> float | None:
        """Seconds until the deadline of a question that begins now; None for no deadline.

        Raises:
            FrameTooOld, DeadlineExceeded: it must not begin.
        """
        if frame.taken == math.inf:
            return None
        age = self._age_ms(frame)
        if self.max_age_ms is not None and age > self.max_age_ms:
            raise FrameTooOld(f"the frame is {age:.0f} ms old; the limit is {self.max_age_ms:g} ms")
        if self.deadline_ms is None:
            return None
        if age >= self.deadline_ms:
            raise DeadlineExceeded("the deadline passed before the question's turn came")
        return (self.deadline_ms - age) / 1e3

    def passed(self, frame: Frame) -> bool:
        """Whether an answer about this frame comes too late now."""
        return self.deadline_ms is not None and self._age_ms(frame) > self.deadline_ms

    def _age_ms(self, frame: Frame) -> float:
        return (self.clock() - frame.taken) * 1e3


class Asking:
    """Asks the model, and keeps the picture of the last frame open. For one thread.

    Args:
        publish: called with every event before the ending.
    """

    def __init__(
        self, model: Askable, limits: TimeLimits, publish: Callable[[LiveEvent], None]
    ) -> None:
        self._model, self._limits, self._publish = model, limits, publish
        self._open: tuple[Frame, OpenPicture] | None = None

    def answer(self, ticket: Ticket) -> Answer:
        """Take the ticket's frame and ask; raises the error if there is no answer."""
        frame = ticket.take_frame()
        if frame is None:
            raise FrameTooOld("the source has no frame yet")
        timeouts = [self._limits.left(frame), ticket.options.timeout]
        timeout = min((seconds for seconds in timeouts if seconds is not None), default=None)
        options = replace(ticket.options, cancel=ticket.cancelled, timeout=timeout)
        self._publish(Started(ticket, self._limits.clock()))
        try:
            answer = self._follow(ticket, frame, options)
        except (Interrupted, InputError):
            raise  # the picture is as it was
        except BaseException:
            self.close()  # its state is not known
            raise
        if self._limits.passed(frame):
            raise DeadlineExceeded("the answer came after the deadline", answer.text)
        return answer

    def close(self) -> None:
        """Close the picture that is open."""
        held, self._open = self._open, None
        if held is not None:
            held[1].close()

    def _follow(self, ticket: Ticket, frame: Frame, options: AskOptions) -> Answer:
        """Ask, and publish what comes."""
        answer, clock = None, self._limits.clock
        with closing(self._picture_of(frame).stream(ticket.question, options)) as stream:
            for event in stream:
                match event:
                    case TextDelta(text):
                        self._publish(Text(ticket, clock(), text))
                    case ReasoningDelta(text):
                        self._publish(Thought(ticket, clock(), text))
                    case CropsRequested(crops):
                        self._publish(Regions(ticket, clock(), crops))
                    case Answer():
                        answer = event
        assert answer is not None
        return answer

    def _picture_of(self, frame: Frame) -> OpenPicture:
        if self._open is None or self._open[0] is not frame:
            self.close()
            self._open = frame, self._model.open(frame.image)
        return self._open[1]
