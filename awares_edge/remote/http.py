"""Requests to one server: kept connections, bounds, and patience while it is busy.

Redirects are not followed: one would carry the key to another server.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from awares_edge.controller.generated import Limits
from awares_edge.errors import SessionError
from awares_edge.remote.address import Address, is_idle
from awares_edge.remote.exchange import Exchange, StatusError
from awares_edge.remote.key import check_key

MAX_ATTEMPTS = 4
"""Most tries of one request while a server says that it is busy."""
LONGEST_WAIT = 120.0
"""Longest wait before another try, in seconds, even if the server asks for more."""
_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 4.0  # Some servers close idle connections after 5.
_KEPT = 8
_BUSY = (429, 503)
_LOOK_SECONDS = 0.02

NO_LIMITS = Limits(1)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before another try: twice as long each time, or as the server asks."""

    first: float = 0.5

    def wait(self, tries: int, asked: float) -> float:
        """Seconds to wait after `tries` failed ones, where the server asked for `asked`."""
        doubled: float = self.first * 2 ** (tries - 1)
        return min(LONGEST_WAIT, max(asked, doubled))


class Server:
    """One server. Safe to share between threads; each request has its own connection.

    Args:
        key: bearer token; empty for none.
        silence: seconds without a byte after which a request is given up.
        sleep: how to wait; for tests.
    """

    def __init__(
        self,
        address: Address,
        key: str = "",
        *,
        silence: float = 120.0,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.address = address
        self._headers = {"Accept": "application/json, text/event-stream"}
        if check_key(key):
            self._headers["Authorization"] = f"Bearer {key}"
        self._silence = silence
        self._sleep = sleep
        self._kept: list[tuple[float, http.client.HTTPConnection]] = []
        self._running: set[Exchange] = set()
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        limits: Limits = NO_LIMITS,
        attempts: int = MAX_ATTEMPTS,
    ) -> Iterator[Exchange]:
        """A request, sent again while the server says that it is busy (429, 503).

        Args:
            limits: its deadline, and what cancels it.

        Raises:
            StatusError: the response is not a success; redirects are not.
            OSError, http.client.HTTPException: the connection failed.
            Interrupted: its time is up, or its caller cancelled.
            SessionError: this is closed, or was closed meanwhile.
        """
        for left in reversed(range(attempts)):
            try:
                exchange = self._begin(method, url, body, limits)
                break
            except StatusError as error:
                if error.status not in _BUSY or not left:
                    raise
                self._wait(Backoff().wait(attempts - left, error.wait), limits, error)
        try:
            with self._watched(exchange, limits):
                yield exchange
        finally:
            self._end(exchange)

    def read(self, method: str, url: str, body: bytes | None, limits: Limits, most: int) -> bytes:
        """The body of a response of at most `most` bytes, not tried again; raises as `request`."""
        with self.request(method, url, body, limits, attempts=1) as exchange:
            return b"".join(exchange.pieces(most))

    def close(self) -> None:
        """End every request that runs, and all connections. Closing twice is allowed."""
        with self._lock:
            self._closed = True
            running, kept, self._kept = list(self._running), self._kept, []
        for exchange in running:
            exchange.abort()
        for _, connection in kept:
            connection.close()

    def check(self) -> None:
        """
        Raises:
            SessionError: this was closed.
        """
        if self._closed:
            raise SessionError("this endpoint is closed: connect again")

    def _begin(self, method: str, url: str, body: bytes | None, limits: Limits) -> Exchange:
        """Send a request; its response's head has come, and is a success."""
        limits.check("")
        # A kept connection may have been closed a moment ago: then a new one is tried.
        kept = self._take()
        for connection in (kept, None) if kept else (None,):
            exchange = Exchange(connection or self.address.connection(self._patience(limits)))
            try:
                with self._watched(exchange, limits):
                    headers = dict(self._headers)
                    if body is not None:
                        headers["Content-Type"] = "application/json"
                    target = self.address.target(url)
                    exchange.send(method, target, body, headers, self._silence)
                    exchange.check_status()
                return exchange
            except BaseException as error:
                exchange.connection.close()
                if connection is None or not isinstance(error, ConnectionError):
                    raise
        raise AssertionError("the last connection is returned or raises")

    def _patience(self, limits: Limits) -> float:
        """Seconds that connecting may take."""
        left = _CONNECT_SECONDS if limits.deadline is None else limits.deadline - monotonic()
        return max(1e-3, min(left, _CONNECT_SECONDS))

    def _end(self, exchange: Exchange) -> None:
        with self._lock:
            if exchange.may_be_kept and not self._closed and len(self._kept) < _KEPT:
                self._kept.append((monotonic(), exchange.connection))
                return
        exchange.connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        """The connection of an earlier request, where the server still holds it open."""
        with self._lock:
            self.check()
            while self._kept:
                since, connection = self._kept.pop()
                if monotonic() - since < _IDLE_SECONDS and is_idle(connection):
                    return connection
                connection.close()
        return None

    @contextmanager
    def _watched(self, exchange: Exchange, limits: Limits) -> Iterator[None]:
        """End the exchange when its time is up, when its caller cancels, or when this is closed;
        a failure that follows from it says so."""
        done = threading.Event()
        with self._lock:
            self.check()
            self._running.add(exchange)
        if limits.deadline is not None or limits.cancel is not None:
            threading.Thread(target=_watch, args=(exchange, limits, done), daemon=True).start()
        try:
            yield
        except (OSError, http.client.HTTPException):
            limits.check("")
            self.check()
            raise
        finally:
            done.set()
            with self._lock:
                self._running.discard(exchange)

    def _wait(self, seconds: float, limits: Limits, error: StatusError) -> None:
        """Wait, unless the question's time would be up before."""
        if limits.deadline is not None and monotonic() + seconds >= limits.deadline:
            raise error
        self._sleep(seconds) if limits.cancel is None else limits.cancel.wait(seconds)


def _watch(exchange: Exchange, limits: Limits, done: threading.Event) -> None:
    """Abort an exchange once its limits are reached; repeatedly, as it may be connecting."""
    while not done.is_set():
        left = None if limits.deadline is None else limits.deadline - monotonic()
        if (left is not None and left <= 0) or (limits.cancel and limits.cancel.is_set()):
            exchange.abort()
            left = None
        looks = limits.cancel is not None or left is None
        done.wait(_LOOK_SECONDS if looks else left)
