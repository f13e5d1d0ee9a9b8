"""Questions on threads: a few at a time, the others wait, and each one can be cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from awares_edge.controller import (
    Answer,
    AskOptions,
    CropsRequested,
    Event,
    Model,
    TextDelta,
)
from awares_edge.serve.images import Box, ImageData, make_sheet
from awares_edge.serve.metrics import Pace
from awares_edge.serve.options import ServeOptions
from awares_edge.serve.saved import SavedPictures
from awares_edge.serve.slots import Slots
from awares_edge.serve.store import PictureStore


@dataclass(frozen=True, slots=True)
class Question:
    """One question, ready to be asked.

    Attributes:
        ask: makes the controller's options; called with the seconds that are left.
        cancel: set to give up.
    """

    text: str
    images: ImageData
    ask: Callable[[float, threading.Event], AskOptions]
    pace: Pace
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and where each picture of the question is on what was asked about."""

    answer: Answer
    cells: tuple[Box, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A question on its way to a thread, and what waits for its answer in the event loop."""

    question: Question
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Answered]
    on_event: Callable[[Event], None] | None

    def notify(self, event: Event) -> None:
        """Hand an event from a thread to the event loop."""
        if self.on_event is not None:
            self.loop.call_soon_threadsafe(self.on_event, event)

    def succeed(self, answered: Answered) -> None:
        self.loop.call_soon_threadsafe(self._settle, self.future.set_result, answered)

    def fail(self, error: BaseException) -> None:
        self.loop.call_soon_threadsafe(self._settle, self.future.set_exception, error)

    def _settle(self, settle: Callable[[Any], None], outcome: Any) -> None:
        if not self.future.done():  # or nobody waits for it any more
            settle(outcome)


class Worker:
    """Computes questions about one model, in the order in which they came.

    Attributes:
        slots: who is running and who waits.
        store: pictures that are kept.
    """

    def __init__(self, model: Model, options: ServeOptions) -> None:
        self._options = options
        self.store = PictureStore(
            model,
            most=options.keep_pictures,
            most_bytes=options.keep_bytes,
            cell_bytes=options.cell_bytes,
            saved=SavedPictures.of(model, options),
        )
        self._threads = ThreadPoolExecutor(options.parallel, thread_name_prefix="question")
        self.slots: Slots[_Job] = Slots(options.parallel, options.waiting)
        self._jobs: set[_Job] = set()

    def start(
        self, question: Question, on_event: Callable[[Event], None] | None = None
    ) -> asyncio.Future[Answered]:
        """Put a question into the queue. Call it in the event loop.

        Args:
            on_event: called in the event loop with each text and crop request.

        Returns:
            its answer. Cancel it to give the question up: one that waits is forgotten, one that is
            being computed ends soon, and its slot is free when its thread is.

        Raises:
            Refusal: the queue is full. The future gets the same if the question waits too long.
        """
        loop = asyncio.get_running_loop()
        job = _Job(question, loop, loop.create_future(), on_event)
        if self.slots.enter(job):
            self._threads.submit(self._run, job)
        timer = loop.call_later(self._left(question), self._expire, job)
        self._jobs.add(job)

        def ended(_: asyncio.Future[Answered]) -> None:
            timer.cancel()
            self._jobs.discard(job)
            if job.future.cancelled():
                question.cancel.set()
                self.slots.leave(job)
            else:
                job.future.exception()  # or asyncio warns where nobody waits for it any more

        job.future.add_done_callback(ended)
        return job.future

    def close(self) -> None:
        """Cancel all questions, wait for the threads, then close the kept pictures."""
        for job in tuple(self._jobs):
            self.slots.leave(job)
            job.question.cancel.set()
            job.future.cancel()
        self._threads.shutdown(wait=True)
        self.store.close()

    def _expire(self, job: _Job) -> None:
        if self.slots.leave(job) and not job.future.done():
            job.future.set_exception(self.slots.full())

    def _run(self, job: _Job | None) -> None:
        """Answer questions on a thread, one after the other, until none waits."""
        while job is not None:
            job = self._answer(job)

    def _answer(self, job: _Job) -> _Job | None:
        """Answer one question; the next one, which takes its slot over. The slot goes first:
        whoever has an answer may ask again at once."""
        started = perf_counter()
        try:
            answered = self._compute(job)
        except BaseException as error:
            following = self.slots.next(perf_counter() - started)
            job.fail(error)
        else:
            following = self.slots.next(perf_counter() - started)
            job.succeed(answered)
        return following

    def _compute(self, job: _Job) -> Answered:
        question = job.question
        options = question.ask(max(self._left(question), 1e-3), question.cancel)
        arrived, pieces = question.pace.arrived, question.pace.pieces
        images = question.images
        with self.store.borrow(
            images.digest, lambda: make_sheet(images, self._options.max_pixels)
        ) as kept:
            answer = None
            for event in kept.picture.stream(question.text, options):
                if isinstance(event, TextDelta):
                    pieces.append(perf_counter() - arrived)
                elif isinstance(event, CropsRequested):
                    pieces.clear()
                elif isinstance(event, Answer):
                    answer = event
                    continue
                job.notify(event)
            assert answer is not None
            # Only now is the picture rewound, and fit for another question.
            self.store.answered(kept, answer)
            return Answered(answer, kept.cells)

    def _left(self, question: Question) -> float:
        """Seconds that a question still has."""
        return self._options.timeout - (perf_counter() - question.pace.arrived)
