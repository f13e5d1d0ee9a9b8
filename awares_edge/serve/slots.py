"""Places for a few running questions, and a bounded queue for those that wait."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Generic, TypeVar

from awares_edge.httpd.refusals import Refusal

Item = TypeVar("Item")


class Slots(Generic[Item]):
    """First come, first served. Any thread may call it.

    A thread that has a slot asks for the `next` item itself, so that nothing lies between the end
    of one and the start of the next.

    Args:
        parallel: items that run at the same time.
        most_waiting: items that may wait.

    Attributes:
        running: items that have a slot.
    """

    def __init__(self, parallel: int, most_waiting: int) -> None:
        self._parallel, self._most_waiting = parallel, most_waiting
        self._queue: deque[Item] = deque()
        self._lock = threading.Lock()
        self._seconds = 1.0
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def enter(self, item: Item) -> bool:
        """Whether the item has a slot at once; otherwise it waits until `next` returns it.

        Raises:
            Refusal: 429, too many wait already.
        """
        with self._lock:
            if self.running < self._parallel:
                self.running += 1
                return True
            if self.waiting >= self._most_waiting:
                raise self.full()
            self._queue.append(item)
            return False

    def next(self, seconds: float) -> Item | None:
        """The item that has waited longest: it takes the slot over. None gives the slot back.

        Args:
            seconds: for which the slot was used: what a Retry-After is estimated from.
        """
        with self._lock:
            self._seconds += 0.2 * (seconds - self._seconds)
            if self._queue:
                return self._queue.popleft()
            self.running -= 1
            return None

    def leave(self, item: Item) -> bool:
        """Forget an item that waits. Whether it did: it may be running, or have ended."""
        with self._lock:
            try:
                self._queue.remove(item)
            except ValueError:
                return False
            return True

    def full(self) -> Refusal:
        """429, with a guess at when it is worth trying again."""
        ahead = (self.waiting + 1) * self._seconds / self._parallel
        return Refusal(
            429,
            f"{self.running} questions are being answered and {self.waiting} wait: try again later",
            kind="rate_limit_error",
            code="queue_full",
            headers={"Retry-After": str(max(1, math.ceil(ahead)))},
        )
