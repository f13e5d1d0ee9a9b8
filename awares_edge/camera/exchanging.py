"""One exchange: a question about a frame is asked, followed and written into the history."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import TypeAlias

from awares_edge import live
from awares_edge.camera.exchange import Exchange
from awares_edge.camera.frames import Frame, encode_jpeg
from awares_edge.camera.history import History
from awares_edge.camera.prepare import Prepared
from awares_edge.camera.reuse import ReusingModel
from awares_edge.controller import Answer, Askable, AskOptions, Policies
from awares_edge.errors import AwaresError
from awares_edge.evaluation.profile.sensors import find_meter

SINGLE_QUESTIONS = ("nano",)
"""Profiles of models that cannot hold a conversation: a follow-up is about the same frame, whose KV
is kept, but does not see earlier questions."""

_THUMBNAIL_SIDE = 320
_FRAME_SIDE = 1280


@dataclass(frozen=True, slots=True)
class Request:
    """A question; see `Station.ask`. `every` is None for the station's pace."""

    id: int
    question: str
    follow_up: bool
    continuous: bool
    every: float | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame as it is given to the model."""

    frame: Frame
    prepared: Prepared
    live: live.Frame


@dataclass(frozen=True, slots=True)
class Last:
    """The last answer, with its exchange and frame."""

    id: int
    request: Request
    shown: Shown
    answer: Answer


Done: TypeAlias = Callable[[Exchange, Prepared], None]
"""Called with each exchange that ended with an answer, and the picture it is about."""


class Exchanger:
    """Asks about one frame at a time. `ask` is for one thread, the rest for any.

    Attributes:
        asking: id of the exchange that is being answered; 0 for none.
        last: the last exchange that has an answer.
    """

    def __init__(
        self, model: Askable, history: History, done: Done, abstain_below: float | None = None
    ) -> None:
        self._history, self._done = history, done
        self._model = ReusingModel(model)
        self._live = live.LiveAsker(self._model)
        self._options = AskOptions(policies=Policies(abstain_below=abstain_below))
        self._converses = model.protocol.name not in SINGLE_QUESTIONS
        self._meter, _ = find_meter()
        self._lock = threading.Lock()
        self._ticket: live.Ticket | None = None
        self.asking = 0
        self.last: Last | None = None
        # Whether the open picture is the one that `last` is about.
        self._current = False

    def ask(self, request: Request, shown: Shown, cancel: threading.Event) -> None:
        """Ask, unless the last answer to this continuous question is still right."""
        if request.continuous and (last := self._standing(request, shown)) is not None:
            self._history.stands(last.id, shown.frame.number)
            return
        id = self._begin(request, shown)
        self.asking, self._current = id, False
        try:
            ending, joules = self._follow(id, request, shown, cancel)
        except AwaresError as error:  # it could not begin
            self._history.fail(id, one_line(error))
            return
        finally:
            self.asking = 0
        if isinstance(ending, live.Answered):
            exchange = self._record(id, ending.answer, shown, joules)
            self.last, self._current = Last(id, request, shown, ending.answer), True
            self._done(exchange, shown.prepared)
        else:
            cancelled = isinstance(ending, live.Cancelled)
            text = "cancelled" if cancelled else one_line(ending.error)
            self._history.fail(id, text, cancelled=cancelled)

    def _standing(self, request: Request, shown: Shown) -> Last | None:
        """The answer to this question that is right for this frame too; None for none."""
        last = self.last
        if not self._current or last is None or last.request is not request:
            return None
        return last if self._model.stands(last.answer, shown.prepared.pixels) else None

    def cancel(self) -> None:
        """Give up the exchange that is being answered."""
        with self._lock:
            if self._ticket is not None:
                self._ticket.cancel()

    def close(self) -> None:
        """Give everything back; the model stays open."""
        self._live.close()
        self._model.close()

    def _begin(self, request: Request, shown: Shown) -> int:
        frame = shown.frame
        exchange = Exchange(
            id=self._history.next_id(),
            question_id=request.id,
            question=request.question,
            follow_up=request.follow_up,
            continuous=request.continuous,
            frame=frame.number,
            frame_size=frame.size,
            frame_age_ms=frame.age_ms,
            asked_at=time(),
            note=shown.prepared.note,
            thumbnail=encode_jpeg(frame.pixels, _THUMBNAIL_SIDE),
        )
        self._history.begin(exchange, encode_jpeg(frame.pixels, _FRAME_SIDE))
        return exchange.id

    def _follow(
        self, id: int, request: Request, shown: Shown, cancel: threading.Event
    ) -> tuple[live.Ending, float | None]:
        """Ask and pass events on; returns the ending and the joules used."""
        if self._meter is not None:
            self._meter.start()
        try:
            follow_up = request.follow_up and self._converses
            ticket = self._live.submit(
                shown.live, request.question, self._options, follow_up=follow_up
            )
            with self._lock:
                self._ticket = ticket
            if cancel.is_set():  # cancelled just before there was a ticket
                ticket.cancel()
            for event in ticket.events():
                match event:
                    case live.Text(text=text):
                        self._history.say(id, text)
                    case live.Thought(text=text):
                        self._history.think(id, text)
                    case live.Regions(crops=crops):
                        self._history.look(id, tuple(map(shown.prepared.looked, crops)))
        finally:
            self._ticket = None
            joules = None if self._meter is None else self._meter.stop()
        return ticket.wait(), joules

    def _record(self, id: int, answer: Answer, shown: Shown, joules: float | None) -> Exchange:
        tokens, kept = answer.visual_tokens, self._model.kept(answer)
        return self._history.answer(
            id,
            self._model.seen(answer),
            kept.tokens,
            answer=answer.text,
            reasoning=answer.reasoning,
            regions=tuple(map(shown.prepared.looked, answer.crops)),
            visual_tokens={"low": tokens.low, "crops": tokens.crops, "full": tokens.full},
            rtr=answer.rtr,
            turns_ms=tuple(dict(turn.ms) for turn in answer.turns),
            total_ms=answer.total_ms,
            joules=joules,
            confidence=answer.confidence,
            abstained=answer.withheld is not None,
            withheld=answer.withheld or "",
            kept_view=kept.view,
            kept_regions=kept.regions,
            policies=answer.policies,
        )


def one_line(error: BaseException) -> str:
    """What went wrong; never empty."""
    return " ".join(str(error).split()) or type(error).__name__
