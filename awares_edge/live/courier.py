"""Hands events to subscribers on its own thread, so that none of them delays the worker."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from awares_edge.live.events import Answered, Failed, LiveEvent

Subscriber: TypeAlias = Callable[[LiveEvent], None]

_log = logging.getLogger(__name__)


class Courier:
    """One thread that calls every subscriber with every event, in the order of `put`.

    Args:
        backlog: events that may wait for the subscribers. When more do, the oldest that is not an
            ending is dropped; if only endings wait, the oldest of them.

    Attributes:
        dropped: events that were dropped.
    """

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._changed = threading.Condition()
        self._events: deque[LiveEvent] = deque()
        self._subscribers: tuple[Subscriber, ...] = ()
        self._closed = False
        self._thread = threading.Thread(target=self._deliver, name="live-events", daemon=True)
        self._thread.start()
        self.dropped = 0

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call this with every event from now on; returns what ends that."""
        with self._changed:
            self._subscribers += (subscriber,)

        def unsubscribe() -> None:
            with self._changed:
                self._subscribers = tuple(s for s in self._subscribers if s is not subscriber)

        return unsubscribe

    def put(self, event: LiveEvent) -> None:
        """Leave an event for the subscribers. Never blocks."""
        with self._changed:
            if not self._subscribers:
                return
            if len(self._events) >= self._backlog:
                pieces = (e for e in self._events if not isinstance(e, Answered | Failed))
                self._events.remove(next(pieces, self._events[0]))
                self.dropped += 1
            self._events.append(event)
            self._changed.notify_all()

    def close(self, patience: float) -> None:
        """Deliver what is left and end the thread.

        Args:
            patience: seconds to wait for a subscriber that does not return.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(patience)
            if self._thread.is_alive():
                _log.warning("a subscriber of live events has not returned: not waiting for it")

    def _deliver(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._closed)
                if not self._events:
                    return
                event, subscribers = self._events.popleft(), self._subscribers
            for subscriber in subscribers:
                try:
                    subscriber(event)
                except Exception:
                    _log.exception("a subscriber of live events failed")
