"""The thread that asks a model about the newest frame: one question at a time, the newest wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from time import monotonic, time

from awares_edge.camera.camera import Camera
from awares_edge.camera.events import Failed
from awares_edge.camera.exchange import Exchange
from awares_edge.camera.frames import Frame, encode_jpeg
from awares_edge.camera.history import History
from awares_edge.camera.pictures import Pictures
from awares_edge.camera.prepare import Preparation
from awares_edge.controller import Answer, AskOptions, CropsRequested, Model, TextDelta
from awares_edge.controller.trace import ReasoningDelta
from awares_edge.errors import AwaresError, CameraError, Cancelled
from awares_edge.evaluation.profile.sensors import find_meter

_THUMBNAIL_SIDE = 320
_FRAME_SIDE = 1280
_PATIENCE = 2.0  # seconds that a single question waits for a fresh frame


@dataclass(frozen=True, slots=True)
class Request:
    """A question that stands.

    Attributes:
        every: least seconds from the beginning of one continuous exchange to the next; None for
            the pace of the station.
        id: 0 until it is asked.
    """

    question: str
    follow_up: bool
    continuous: bool
    every: float | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """When questions are asked: see `StationOptions`."""

    every: float
    max_age_ms: float


class Asker:
    """Asks in a thread of its own.

    Args:
        camera: gives the camera in use.
    """

    def __init__(
        self,
        model: Model,
        camera: Callable[[], Camera],
        prepare: Preparation,
        history: History,
        pace: Pace,
    ) -> None:
        self._camera, self._history, self._pace = camera, history, pace
        self._pictures = Pictures(model, prepare)
        self._meter, _ = find_meter()
        self._changed = threading.Condition()
        self._working = threading.Lock()
        self._standing: Request | None = None
        self._questions = self._asking = 0
        self._cancel = threading.Event()
        self._can_follow = self._closed = False
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)

    @property
    def standing(self) -> Request | None:
        """The question that stands; None for none."""
        return self._standing

    @property
    def asking(self) -> int:
        """Id of the exchange that is being answered; 0 for none."""
        return self._asking

    @property
    def can_follow(self) -> bool:
        """Whether there is an answer that a follow-up may follow."""
        return self._can_follow

    def start(self) -> None:
        self._thread.start()

    def ask(
        self, question: str, *, follow_up: bool, continuous: bool, every: float | None = None
    ) -> int:
        """Put a question in the place of the one that stands; its id."""
        with self._changed:
            self._cancel.set()
            self._questions += 1
            self._standing = Request(question, follow_up, continuous, every, self._questions)
            self._cancel = threading.Event()
            self._changed.notify_all()
            return self._questions

    def cancel(self) -> None:
        """Give up the question that stands."""
        with self._changed:
            self._cancel.set()
            self._standing = None
            self._changed.notify_all()

    def use_model(self, model: Model, prepare: Preparation) -> None:
        """Ask another model from now on: give up the question that stands, and wait until the
        model before is no longer used."""
        self.cancel()
        with self._working:
            self._pictures.close()
            self._pictures, self._can_follow = Pictures(model, prepare), False

    def close(self) -> None:
        """Give up, and wait for the thread."""
        with self._changed:
            self._closed = True
            self.cancel()
        self._thread.join()

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                with self._working:
                    self._follow(*job)
        finally:
            self._pictures.close()

    def _next(self) -> tuple[Request, threading.Event] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._standing is not None or self._closed)
            return (
                None if self._closed or self._standing is None else (self._standing, self._cancel)
            )

    def _follow(self, request: Request, cancel: threading.Event) -> None:
        """Ask a question until it is answered, or, if continuous, until it no longer stands."""
        frame_number = 0
        while not cancel.is_set():
            began = monotonic()
            try:
                frame = self._frame(request, frame_number, cancel)
                if frame is None:
                    continue
                frame_number = frame.number
                self._exchange(request, frame, cancel)
            except AwaresError as error:
                if not request.continuous and not cancel.is_set():
                    self._history.log.add(Failed(0, str(error)))
            if not request.continuous:
                self._done(request)
                return
            every = self._pace.every if request.every is None else request.every
            cancel.wait(max(0.0, began + every - monotonic()))

    def _done(self, request: Request) -> None:
        with self._changed:
            if self._standing is request:
                self._standing = None

    def _frame(self, request: Request, after: int, cancel: threading.Event) -> Frame | None:
        """The frame to ask about; None where a continuous question has to wait on."""
        if request.follow_up:
            assert self._pictures.frame is not None
            return self._pictures.frame
        camera = self._camera()
        if request.continuous:
            camera.wait_newer(after, timeout=0.2)
            try:
                frame = camera.read_latest(self._pace.max_age_ms)
            except CameraError:
                cancel.wait(0.1)  # the state says why; the question stands
                return None
            return frame if frame.number > after else None
        deadline = monotonic() + _PATIENCE
        while True:
            try:
                return camera.read_latest(self._pace.max_age_ms)
            except CameraError:
                if monotonic() > deadline or cancel.wait(0.05):
                    raise

    def _exchange(self, request: Request, frame: Frame, cancel: threading.Event) -> None:
        """Ask about a frame and tell how it goes."""
        if not request.follow_up:
            self._pictures.show(frame)
        prepared = self._pictures.prepared
        assert prepared is not None
        id = self._history.next_id()
        self._history.begin(
            Exchange(
                id,
                request.id,
                request.question,
                request.follow_up,
                request.continuous,
                frame.number,
                frame.size,
                frame.age_ms,
                time(),
                note=prepared.note,
                thumbnail=encode_jpeg(frame.pixels, _THUMBNAIL_SIDE),
            ),
            encode_jpeg(frame.pixels, _FRAME_SIDE),
        )
        self._asking, self._can_follow = id, False
        try:
            answer, joules = self._answer(id, request, cancel)
        except Cancelled:
            self._history.fail(id, "cancelled", cancelled=True)
            return
        except AwaresError as error:
            self._history.fail(id, " ".join(str(error).split()))
            return
        finally:
            self._asking = 0
        self._can_follow = True
        self._record(id, answer, joules)

    def _answer(
        self, id: int, request: Request, cancel: threading.Event
    ) -> tuple[Answer, float | None]:
        options = AskOptions(follow_up=request.follow_up, cancel=cancel)
        prepared = self._pictures.prepared
        assert prepared is not None
        if self._meter is not None:
            self._meter.start()
        try:
            with closing(self._pictures.picture.stream(request.question, options)) as stream:
                for event in stream:
                    if isinstance(event, Answer):
                        answer = event
                    elif isinstance(event, TextDelta):
                        self._history.say(id, event.text)
                    elif isinstance(event, ReasoningDelta):
                        self._history.think(id, event.text)
                    elif isinstance(event, CropsRequested):
                        regions = tuple(map(prepared.looked, event.crops))
                        self._history.look(id, regions)
        finally:
            joules = None if self._meter is None else self._meter.stop()
        return answer, joules

    def _record(self, id: int, answer: Answer, joules: float | None) -> None:
        prepared = self._pictures.prepared
        assert prepared is not None
        tokens = answer.visual_tokens
        self._history.answer(
            id,
            self._pictures.seen(answer),
            0,
            answer=answer.text,
            reasoning=answer.reasoning,
            regions=tuple(map(prepared.looked, answer.crops)),
            visual_tokens={"low": tokens.low, "crops": tokens.crops, "full": tokens.full},
            rtr=answer.rtr,
            turns_ms=tuple(dict(turn.ms) for turn in answer.turns),
            total_ms=answer.total_ms,
            joules=joules,
            policies=answer.policies,
        )
