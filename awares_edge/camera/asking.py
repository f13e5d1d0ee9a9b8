"""The current question: asked once, or repeated about newer frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from awares_edge import live
from awares_edge.camera.camera import Camera
from awares_edge.camera.events import Failed
from awares_edge.camera.exchanging import Done, Exchanger, Request, Shown, one_line
from awares_edge.camera.frames import Frame
from awares_edge.camera.history import History
from awares_edge.camera.prepare import Preparation
from awares_edge.controller import Askable
from awares_edge.errors import CameraError, SessionError

_PATIENCE = 2.0  # seconds that a single question waits for a fresh frame
_RETRY = 0.5  # seconds before a continuous question is retried after a failure


@dataclass(frozen=True, slots=True)
class Pace:
    """When and how questions are asked: see `StationOptions`."""

    every: float
    max_age_ms: float
    abstain_below: float | None = None


class Asker:
    """Asks about frames on its own thread; a new question replaces the current one.

    Args:
        camera: gives the camera in use.
        done: called with every answer.
    """

    def __init__(
        self,
        model: Askable,
        camera: Callable[[], Camera],
        prepare: Preparation,
        history: History,
        pace: Pace,
        done: Done,
    ) -> None:
        self._camera, self._history, self._pace = camera, history, pace
        self._prepare, self._done = prepare, done
        self._exchanger = Exchanger(model, history, done, pace.abstain_below)
        self._changed = threading.Condition()
        self._working = threading.Lock()  # held while the exchanger is in use
        self._standing: Request | None = None
        self._questions = 0
        self._cancel = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)

    @property
    def standing(self) -> Request | None:
        """The current question; None for none."""
        return self._standing

    @property
    def asking(self) -> int:
        """Id of the exchange that is being answered; 0 for none."""
        return self._exchanger.asking

    @property
    def can_follow(self) -> bool:
        """Whether there is an answer that a follow-up may follow."""
        return self._exchanger.last is not None

    def start(self) -> None:
        self._thread.start()

    def ask(
        self, question: str, *, follow_up: bool, continuous: bool, every: float | None = None
    ) -> int:
        """Ask a question in place of the current one; returns its id.

        Raises:
            SessionError: this is closed.
        """
        with self._changed:
            if self._closed:
                raise SessionError("this station is closed: make a new one")
            self._give_up()
            self._questions += 1
            self._standing = Request(self._questions, question, follow_up, continuous, every)
            self._cancel = threading.Event()
            self._changed.notify_all()
            return self._questions

    def cancel(self) -> None:
        """Give up the current question."""
        with self._changed:
            self._give_up()
            self._changed.notify_all()

    def _give_up(self) -> None:
        self._cancel.set()
        self._standing = None
        self._exchanger.cancel()

    def wait_idle(self, timeout: float | None) -> bool:
        """Wait until there is no current question."""
        with self._changed:
            return self._changed.wait_for(lambda: self._standing is None, timeout)

    def use_model(self, model: Askable, prepare: Preparation) -> None:
        """Ask another model from now on: give up the current question, and wait until
        the previous model is no longer used."""
        self.cancel()
        with self._working:
            self._exchanger.close()
            self._exchanger, self._prepare = (
                Exchanger(model, self._history, self._done, self._pace.abstain_below),
                prepare,
            )

    def close(self) -> None:
        """Give up, and wait for the threads."""
        with self._changed:
            self._closed = True
            self._give_up()
            self._changed.notify_all()
        self._thread.join()
        self._exchanger.close()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            with self._working:
                self._pursue(*job)

    def _next(self) -> tuple[Request, threading.Event] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._standing is not None or self._closed)
            return None if self._standing is None else (self._standing, self._cancel)

    def _pursue(self, request: Request, cancel: threading.Event) -> None:
        """Ask a question until it is answered, or, if continuous, until it is given up."""
        number, logged = 0, ""
        while not cancel.is_set():
            began = monotonic()
            try:
                shown = self._show(request, number, cancel)
                if shown is not None:
                    number = shown.frame.number
                    self._exchanger.ask(request, shown, cancel)
                    logged = ""
            # A preparation may raise anything: the thread must continue.
            except Exception as error:
                if not cancel.is_set() and one_line(error) != logged:
                    logged = one_line(error)
                    self._history.log.add(Failed(0, logged))
                cancel.wait(_RETRY if request.continuous else 0.0)
            if not request.continuous:
                break
            every = self._pace.every if request.every is None else request.every
            cancel.wait(max(0.0, began + every - monotonic()))
        with self._changed:
            if self._standing is request:
                self._standing = None
            self._changed.notify_all()

    def _show(self, request: Request, after: int, cancel: threading.Event) -> Shown | None:
        """What to ask about; None while a continuous question has to wait."""
        if request.follow_up and self._exchanger.last is not None:
            return self._exchanger.last.shown
        frame = self._next_frame(after, cancel) if request.continuous else self._frame(cancel)
        if frame is None:
            return None
        prepared = self._prepare(frame.pixels)
        return Shown(frame, prepared, live.Frame(prepared.pixels, frame.taken))

    def _next_frame(self, after: int, cancel: threading.Event) -> Frame | None:
        """A fresh frame that is newer than the one before."""
        camera = self._camera()
        camera.wait_newer(after, timeout=0.2)
        try:
            frame = camera.read_latest(self._pace.max_age_ms)
        except CameraError:
            cancel.wait(0.1)  # the camera's status says why; the question is kept
            return None
        return None if frame.number == after else frame

    def _frame(self, cancel: threading.Event) -> Frame:
        """A fresh frame; waits for one briefly."""
        deadline = monotonic() + _PATIENCE
        while True:
            try:
                return self._camera().read_latest(self._pace.max_age_ms)
            except CameraError:
                if monotonic() > deadline or cancel.wait(0.05):
                    raise
