"""Questions on threads: a few at a time, the others wait, and each one can be cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

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
        self.slots = Slots(options.parallel, options.waiting)
        self._cancels: set[threading.Event] = set()

    async def start(
        self, question: Question, on_event: Callable[[Event], None] | None = None
    ) -> asyncio.Future[Answered]:
        """Wait for a slot, and begin to compute on a thread. The slot is free again when the
        thread is, whoever still waits for the answer; `question.cancel` makes that soon.

        Args:
            on_event: called in the event loop with each text and crop request.

        Raises:
            Refusal: the queue is full, or the question has waited too long.
        """
        await self.slots.acquire(self._left(question))
        loop = asyncio.get_running_loop()
        started = perf_counter()
        notify = None if on_event is None else _Notifier(loop, on_event)
        future = loop.run_in_executor(self._threads, self._compute, question, notify)
        self._cancels.add(question.cancel)

        def finished(done: asyncio.Future[Answered]) -> None:
            self._cancels.discard(question.cancel)
            self.slots.release(perf_counter() - started)
            if not done.cancelled():
                done.exception()  # or asyncio warns where nobody waits for it any more

        future.add_done_callback(finished)
        return future

    def close(self) -> None:
        """Cancel what runs, wait for the threads, then close the kept pictures."""
        for cancel in self._cancels:
            cancel.set()
        self._threads.shutdown(wait=True)
        self.store.close()

    def _compute(self, question: Question, notify: _Notifier | None) -> Answered:
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
                if notify is not None:
                    notify(event)
            assert answer is not None
            # Only now is the picture rewound, and fit for another question.
            self.store.answered(kept, answer)
            return Answered(answer, kept.cells)

    def _left(self, question: Question) -> float:
        """Seconds that a question still has."""
        return self._options.timeout - (perf_counter() - question.pace.arrived)


@dataclass(frozen=True, slots=True)
class _Notifier:
    """Hands events from a thread to the event loop."""

    loop: asyncio.AbstractEventLoop
    on_event: Callable[[Event], None]

    def __call__(self, event: Event) -> None:
        self.loop.call_soon_threadsafe(self.on_event, event)
