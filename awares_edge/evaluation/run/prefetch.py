"""Questions read and pictures decoded ahead, in threads, while the model is at work."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import TypeAlias

from PIL import Image

from awares_edge.errors import InputError
from awares_edge.evaluation.question import BadQuestion, Question
from awares_edge.evaluation.suites.base import Selection, Suite


@dataclass(frozen=True, slots=True)
class Prepared:
    """A row that is ready to be asked, or cannot be.

    Attributes:
        question: None where the row is not a question.
        image: None where there is no picture to ask about; `reason` says why.
    """

    index: int
    question: Question | None
    image: Image.Image | None
    reason: str = ""


_Item: TypeAlias = "Future[Prepared] | BaseException | None"


def prepared(suite: Suite, selection: Selection, workers: int) -> Generator[Prepared, None, None]:
    """The wanted rows in order.

    Args:
        workers: threads that decode pictures; one more reads the data. 0 to do both in the
            caller's thread, when a row is asked for. At most two pictures a worker wait.
    """
    if workers < 1:
        for index, row in suite.read(selection):
            yield _prepare(suite, index, row)
        return
    waiting: Queue[_Item] = Queue(maxsize=2 * workers)
    stop = threading.Event()
    with ThreadPoolExecutor(workers, "decode") as pool:
        reader = threading.Thread(
            target=_read, args=(suite, selection, pool, waiting, stop), name="read", daemon=True
        )
        reader.start()
        try:
            while (item := waiting.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item.result()
        finally:
            stop.set()
            with suppress(Empty):
                while True:
                    waiting.get_nowait()
            reader.join()


def _read(
    suite: Suite,
    selection: Selection,
    pool: ThreadPoolExecutor,
    waiting: Queue[_Item],
    stop: threading.Event,
) -> None:
    """Read rows and hand their pictures to the pool; errors go to the reader of the queue."""
    last: BaseException | None = None
    try:
        for index, row in suite.read(selection):
            if not _put(waiting, pool.submit(_prepare, suite, index, row), stop):
                return
    except BaseException as error:
        last = error
    _put(waiting, last, stop)


def _put(waiting: Queue[_Item], item: _Item, stop: threading.Event) -> bool:
    """Wait for room; False once the run has stopped."""
    while not stop.is_set():
        with suppress(Full):
            waiting.put(item, timeout=0.1)
            return True
    return False


def _prepare(suite: Suite, index: int, row: Question | BadQuestion) -> Prepared:
    if isinstance(row, BadQuestion):
        return Prepared(index, None, None, row.reason)
    try:
        return Prepared(index, row, suite.decode(row))
    except InputError as error:
        return Prepared(index, row, None, str(error))
