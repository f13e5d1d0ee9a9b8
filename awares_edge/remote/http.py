"""Requests to one server: kept connections, bounds, and patience while it is busy.

Redirects are not followed: one would carry the key to another server.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from awares_edge.controller.decoding import Limits
from awares_edge.errors import AwaresError, SessionError
from awares_edge.remote.address import Address, is_idle
from awares_edge.remote.key import check_key

MAX_REPLY_BYTES = 16 << 20
"""Longest response that is read, in bytes."""
MAX_ERROR_BYTES = 64 << 10
"""How much of an error's body is read, in bytes."""
MAX_ATTEMPTS = 4
"""Most tries of one request while a server says that it is busy."""
LONGEST_WAIT = 120.0
"""Longest wait before another try, in seconds, whatever the server asks for."""
_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 4.0  # Some servers close idle connections after 5.
_KEPT = 8
_PIECE = 1 << 16
_BUSY = (429, 503)
_LOOK_SECONDS = 0.02

NO_LIMITS = Limits(1)


class StatusError(AwaresError):
    """A response that is not a success.

    Attributes:
        status: of HTTP.
        body: what the server said, cut to `MAX_ERROR_BYTES`.
        wait: seconds after which it asks to be tried again; 0 where it does not say.
    """

    def __init__(self, status: int, body: bytes = b"", wait: float = 0.0) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.body, self.wait = status, body, wait


class TooLong(AwaresError):
    """A response that is longer than is read."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before another try: twice as long each time, or as the server asks."""

    first: float = 0.5

    def wait(self, tries: int, asked: float) -> float:
        """Seconds to wait after `tries` failed ones, where the server asked for `asked`."""
        doubled: float = self.first * 2 ** (tries - 1)
        return min(LONGEST_WAIT, max(asked, doubled))


class Exchange:
    """One request on its way, and its response.

    Attributes:
        kind: content type of the response, without parameters.
    """

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.kind = ""
        self._aborted = False
        self._socket: socket.socket | None = connection.sock

    def send(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str], silence: float
    ) -> None:
        """Send the request and wait for the response's head."""
        if self._socket is None:
            self.connection.connect()
            self._socket = self.connection.sock
        self._socket.settimeout(silence)
        self.connection.request(method, target, body, headers)
        self._response = self.connection.getresponse()
        self.kind = self._response.headers.get_content_type()

    def check_status(self) -> None:
        """
        Raises:
            StatusError: the response is not a success.
        """
        response = self._response
        if 200 <= response.status < 300:
            return
        asked = response.headers.get("Retry-After", "")
        wait = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 0.0
        body = b""
        with suppress(OSError, http.client.HTTPException):
            body = response.read(MAX_ERROR_BYTES)
        raise StatusError(response.status, body, wait)

    def pieces(self, most: int = MAX_REPLY_BYTES) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            TooLong: it has over `most` bytes.
            OSError, http.client.HTTPException: the connection failed.
        """
        total = 0
        while piece := self._response.read1(_PIECE):
            total += len(piece)
            if total > most:
                raise TooLong(f"the response is over {most:,} bytes")
            yield piece
        if self._response.length:
            raise http.client.IncompleteRead(b"", self._response.length)
        if self._aborted:  # A body that ends with its connection looks complete.
            raise ConnectionAbortedError("the request was ended")
        self._response.close()

    @property
    def may_be_kept(self) -> bool:
        """Whether the connection can carry another request."""
        return self._response.isclosed() and not self._response.will_close

    def abort(self) -> None:
        """End it, from any thread."""
        self._aborted = True
        if self._socket is not None:
            with suppress(OSError):
                # Not TLS's own, which another thread that reads would trip over.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Server:
    """One server. Safe to share between threads; each request has a connection of its own.

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
    """Abort an exchange as soon as its limits say so; again and again, as it may be connecting."""
    while not done.is_set():
        left = None if limits.deadline is None else limits.deadline - monotonic()
        if (left is not None and left <= 0) or (limits.cancel and limits.cancel.is_set()):
            exchange.abort()
            left = None
        looks = limits.cancel is not None or left is None
        done.wait(_LOOK_SECONDS if looks else left)
