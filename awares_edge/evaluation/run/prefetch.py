"""Questions read and pictures decoded ahead, in threads, while the model is at work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from awares_edge.errors import InputError
from awares_edge.evaluation.question import BadQuestion, Question
from awares_edge.evaluation.suites.base import Selection, Suite

# Most pictures that wait: fewer if they are large, but two for each worker.
_MOST_WAITING = 16
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """A row that is ready to be asked, or cannot be.

    Attributes:
        question: None where the row is not a question.
        image: None without a usable picture; `reason` says why.
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
            caller's thread, when a row is asked for. 16 pictures wait at most, about 64 MiB, but
            always two for each worker.
    """
    if workers < 1:
        for index, row in suite.read(selection):
            yield _prepare(suite, index, row)
        return
    waiting = _Waiting(2 * workers)
    with ThreadPoolExecutor(workers, "decode") as pool:
        reader = threading.Thread(
            target=_read, args=(suite, selection, pool, waiting), name="read", daemon=True
        )
        reader.start()
        try:
            while (item := waiting.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                ready = item.result()
                waiting.most = max(2 * workers, _room(ready))
                yield ready
        finally:
            waiting.close()
            reader.join()


def _room(row: Prepared) -> int:
    """How many pictures of this one's size may wait."""
    if row.image is None:
        return 0
    return min(_MOST_WAITING, _MOST_BYTES // (3 * row.image.width * row.image.height))


class _Waiting:
    """A queue from one thread to another that wakes the filling thread only when most is used.

    `queue.Queue` wakes it for every item. On a busy machine the system then often takes the core
    from the thread that asked, in the middle of its work: that was most of the wall time outside
    the model.

    Attributes:
        most: items it holds; may be changed at any time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._full = self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: _Item) -> bool:
        """Wait for room; False once the queue is closed."""
        with self._changed:
            while self._full and not self._closed:
                self._changed.wait()
            self._items.append(item)
            self._full = len(self._items) >= self.most
            self._changed.notify()
            return not self._closed

    def get(self) -> _Item:
        """Wait for an item."""
        with self._changed:
            while not self._items:
                self._changed.wait()
            item = self._items.popleft()
            if self._full and len(self._items) <= self.most // 4:
                self._full = False
                self._changed.notify()
            return item

    def close(self) -> None:
        """Let the thread that fills the queue end."""
        with self._changed:
            self._closed = True
            self._changed.notify()


def _read(suite: Suite, selection: Selection, pool: ThreadPoolExecutor, waiting: _Waiting) -> None:
    """Read rows and hand their pictures to the pool; errors go to the reader of the queue."""
    last: BaseException | None = None
    try:
        for index, row in suite.read(selection):
            if not waiting.put(pool.submit(_prepare, suite, index, row)):
                return
    except BaseException as error:
        last = error
    waiting.put(last)


def _prepare(suite: Suite, index: int, row: Question | BadQuestion) -> Prepared:
    if isinstance(row, BadQuestion):
        return Prepared(index, None, None, row.reason)
    try:
        return Prepared(index, row, suite.decode(row))
    except InputError as error:
        return Prepared(index, row, None, str(error))
