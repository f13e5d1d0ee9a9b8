"""The running demo: a camera, a model, the question that stands, and all that happened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic

from awares_edge.camera.asking import Asker, Pace
from awares_edge.camera.camera import Camera, CameraStatus
from awares_edge.camera.events import (
    EventLog,
    Failed,
    StateChanged,
    StationEvent,
    Stats,
)
from awares_edge.camera.exchange import Exchange, Seen
from awares_edge.camera.frames import Shot
from awares_edge.camera.history import History
from awares_edge.camera.load import LoadMeter
from awares_edge.camera.options import StationOptions
from awares_edge.camera.prepare import Prepared, preparation_for
from awares_edge.camera.preview import Preview
from awares_edge.camera.recording import Recording
from awares_edge.camera.sources import Source, SourceInfo, open_source
from awares_edge.camera.sources.pushed import PushedSource
from awares_edge.camera.switch import CameraSwitch
from awares_edge.controller import Askable
from awares_edge.errors import InputError
from awares_edge.protocol.prompt import check_question

__all__ = ["Station", "StationOptions"]

_STATS_SECONDS = 1.0


class Station:
    """A camera before a model. Any thread may call any method; close it, or use `with`.

    Args:
        model: stays the caller's to close, after the station.
        opener: what `open_source` is; another in tests.
    """

    def __init__(
        self,
        model: Askable,
        options: StationOptions | None = None,
        opener: Callable[[str], Source] = open_source,
    ) -> None:
        self.model = model
        self.options = options or StationOptions()
        self._lock = threading.Lock()
        self._log = EventLog()
        self._history = History(self._log, self.options.history)
        self._load = LoadMeter()
        self._preview = Preview()
        self._recording: Recording | None = None
        prepare = self.options.prepare or preparation_for(model.protocol.name)
        self._asker = Asker(
            model,
            camera=lambda: self._camera,
            prepare=prepare,
            history=self._history,
            pace=Pace(self.options.every, self.options.max_age_ms, self.options.abstain_below),
            done=self._write_down,
        )
        self._closed = threading.Event()
        self._logged: StateChanged | None = None
        specs = (self.options.source, *self.options.offered)
        self._switch = CameraSwitch(specs, opener, may_be_still=self.options.may_be_still)
        self._asker.start()
        self._watcher = threading.Thread(target=self._watch, name="station", daemon=True)
        self._watcher.start()

    @property
    def _camera(self) -> Camera:
        return self._switch.camera

    # State

    def frame(self) -> Shot | None:
        """The freshest frame as a JPEG; None before the first one."""
        frame = self._camera.latest
        return None if frame is None else self._preview.shot(frame)

    def status(self) -> CameraStatus:
        """How the camera is: its state, a line for people, frames a second."""
        return self._camera.status()

    def wait_ready(self, seconds: float) -> None:
        """Wait until frames come.

        Raises:
            CameraError: the source cannot be opened, or sends nothing for so long.
        """
        self._camera.wait_ready(seconds)
        self._log_state()

    def state(self) -> StateChanged:
        """Everything that a page shows of the state now."""
        camera, request = self._camera.status(), self._asker.standing
        return StateChanged(
            camera=camera.state,
            text=camera.text,
            source=self._camera.source.info.spec,
            question=request.question if request and request.continuous else "",
            asking=self._asker.asking,
            recording=self._recording is not None,
            suggestions=self._camera.source.suggestions,
        )

    def stats(self) -> Stats:
        """Counters and the machine's load now."""
        camera = self._camera.status()
        return self._history.stats(camera, self._load.read())

    # Questions

    def ask(
        self,
        question: str,
        *,
        follow_up: bool = False,
        continuous: bool = False,
        every: float | None = None,
    ) -> int:
        """Ask; the current question is given up. Returns at once.

        Args:
            follow_up: ask about the frame of the exchange before. The model sees the conversation
                too, unless it is one of `exchanging.SINGLE_QUESTIONS`.
            continuous: repeat it about newer frames, until `cancel` or another question.
            every: in place of the option of this name, for this question.

        Returns:
            an id that the question's exchanges carry as `question_id`.

        Raises:
            QuestionError: it is empty or too long.
            InputError: a follow-up is continuous, or there is nothing to follow.
        """
        check_question(question)
        if follow_up and continuous:
            raise InputError("a follow-up is about one frame: it cannot be asked continuously")
        if follow_up and not self._asker.can_follow:
            raise InputError("there is no answer to follow up: ask a first question")
        return self._asker.ask(question, follow_up=follow_up, continuous=continuous, every=every)

    def cancel(self) -> None:
        """Give up the question that stands or is being answered; nothing happens without one."""
        self._asker.cancel()

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until no question stands; whether that is so within `timeout` seconds."""
        return self._asker.wait_idle(timeout)

    def history(self) -> list[Exchange]:
        """The exchanges that are remembered, oldest first; the last may be running."""
        return self._history.all()

    def exchange(self, id: int) -> Exchange | None:
        """One exchange; None where it is not remembered."""
        return self._history.get(id)

    def views(self, id: int) -> Seen | None:
        """What the model saw in an exchange; None where it is not kept, or not yet known."""
        return self._history.seen(id)

    def frame_of(self, id: int) -> bytes | None:
        """JPEG of the frame that an exchange is about; None where it is not kept."""
        return self._history.frame(id)

    # Events

    @property
    def last_event(self) -> int:
        """Number of the newest event."""
        return self._log.last

    def events(self, since: int | None = None) -> Iterator[StationEvent]:
        """Events after number `since` (None: from now on) as they come, until `close`.

        Any number of readers may follow. One that is far behind sees a gap in the numbers.
        """
        return self._log.follow(self._log.last if since is None else since)

    def events_after(self, since: int, timeout: float = 0.0) -> list[StationEvent]:
        """Events after number `since`, waited for up to `timeout` seconds; maybe none."""
        return self._log.after(since, timeout)

    # Sources and recording

    def sources(self) -> list[SourceInfo]:
        """Sources that may be chosen here, the current one first."""
        return self._switch.choices()

    def use_source(self, spec: str) -> None:
        """Change to another source; the current question is given up.

        Args:
            spec: of one of `sources()`. Others are refused: a pipeline or a path can do harm, and
                this may be called from a page.

        Raises:
            InputError: it is none of them. One that cannot be opened is tried again until it can:
                see `status`.
        """
        self._switch.use(spec, before=self._asker.cancel)
        self._log_state()

    def use_model(self, model: Askable) -> None:
        """Change to another model; the current question is given up. When this returns, the
        model before is no longer used, and is the caller's to close."""
        prepare = self.options.prepare or preparation_for(model.protocol.name)
        self._asker.use_model(model, prepare)
        self.model = model
        self._log_state()

    def push_frame(self, jpeg: bytes) -> None:
        """A frame of the browser's own camera.

        Raises:
            InputError: the source is not "browser".
            ImageError: the picture cannot be used.
        """
        source = self._camera.source
        if not isinstance(source, PushedSource):
            raise InputError("frames may be pushed only while the source is browser")
        source.push(jpeg)

    def record(self, on: bool) -> None:
        """Begin or end writing down frames with their answers; see `recording`.

        Raises:
            InputError: the station was given no folder for them, or it cannot be written to.
        """
        if on and self.options.record_to is None:
            raise InputError("there is no folder to record to")
        folder = self.options.record_to if on else None
        self._recording = None if folder is None else Recording(folder)
        self._log_state()

    def _write_down(self, exchange: Exchange, prepared: Prepared) -> None:
        recording = self._recording
        if recording is None:
            return
        try:
            recording.add(exchange, prepared.pixels)
        except InputError as error:
            self._recording = None
            self._log.add(Failed(0, f"the recording has ended: {error}"))

    # Closing

    def close(self) -> None:
        """Give up the question, close the camera, end all events. Closing twice is allowed."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._asker.close()
        self._switch.close()
        self._watcher.join(timeout=5.0)
        self._log.close()

    def __enter__(self) -> Station:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _log_state(self) -> None:
        """Add the state to the log if it has changed."""
        state = self.state()
        with self._lock:
            if state == self._logged:
                return
            self._logged = state
            self._log.add(state)

    def _watch(self) -> None:
        """Log changes of the state within 0.2 s, and the numbers once a second."""
        due = monotonic()
        while not self._closed.wait(0.2):
            self._log_state()
            if monotonic() >= due:
                due = monotonic() + _STATS_SECONDS
                self._log.add(self.stats())
