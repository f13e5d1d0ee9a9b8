"""Places for a few running questions, and a bounded queue for those that wait."""

from __future__ import annotations

import asyncio
import math
from collections import deque

from awares_edge.httpd.refusals import Refusal


class Slots:
    """First come, first served. Belongs to one event loop.

    Args:
        parallel: questions that run at the same time.
        most_waiting: questions that may wait.

    Attributes:
        running: questions that have a slot.
    """

    def __init__(self, parallel: int, most_waiting: int) -> None:
        self._parallel, self._most_waiting = parallel, most_waiting
        self._queue: deque[asyncio.Future[None]] = deque()
        self._seconds = 1.0
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def acquire(self, seconds: float) -> None:
        """Wait for a slot; whoever gets one must `release` it.

        Args:
            seconds: to wait at most.

        Raises:
            Refusal: 429, too many wait already, or this one has waited long enough.
        """
        if self.running < self._parallel:
            self.running += 1
            return
        if self.waiting >= self._most_waiting:
            raise self.full()
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        timer = turn.get_loop().call_later(max(seconds, 0.0), self._expire, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn came at the same moment
                self._hand_on()
            elif turn in self._queue:
                self._queue.remove(turn)
            raise
        finally:
            timer.cancel()

    def release(self, seconds: float) -> None:
        """Give a slot back.

        Args:
            seconds: for which it was used: what a Retry-After is estimated from.
        """
        self._seconds += 0.2 * (seconds - self._seconds)
        self._hand_on()

    def _hand_on(self) -> None:
        """To the one who has waited longest. It does not count as free in between, so that nobody
        overtakes."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _expire(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            self._queue.remove(turn)
            turn.set_exception(self.full())

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
