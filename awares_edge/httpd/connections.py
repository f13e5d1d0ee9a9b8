"""Connections that send too slowly or too much or are too many, and the end of a server."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from httptools import HttpParserError
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from awares_edge.httpd.limits import MAX_CONNECTIONS, MAX_HEADER, HttpLimits
from awares_edge.httpd.refusals import Refusal


class GuardedProtocol(HttpToolsProtocol):  # type: ignore[misc]
    """uvicorn's HTTP/1.1 protocol with what it lacks: bounds on the size of a header, on the times
    within which header and body must arrive and a response be read, and on connections; errors in
    OpenAI's shape. The size of a body is bounded by `guard.read_body`.

    A request that is sent before the answer to the one before is not read: the connection ends with
    that answer, as RFC 9112 (9.3.2) allows.
    """

    limits: ClassVar[HttpLimits]
    _expected: str | None = None  # the part of a request that a timer runs for
    _arrival_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _in_header = False
    _advanced = False  # whether a read completed a header, or brought a part of a body
    _held = 0  # bytes read since then: the parser keeps them, however many
    _ending = False  # what comes now is dropped

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            message = "too many connections"
            self._end(Refusal(503, message, kind="server_error", code="too_many_connections"))
            return
        self._watch_arrival()

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        self._advanced = False
        super().data_received(data)
        self._held = 0 if self._advanced else self._held + len(data)
        if self._held > MAX_HEADER:
            self._end(_HEADER_TOO_LONG)
        self._watch_arrival()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_header = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_header:
            raise HttpParserError("a trailer, which is not supported")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_header, self._advanced = False, True
        if self._is_answering():
            raise HttpParserError("a request before the answer to the one before")
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEADER:
            self._end(_HEADER_TOO_LONG)
            raise HttpParserError(str(_HEADER_TOO_LONG))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_header:  # of the next request
            self._watch_arrival()

    def pause_writing(self) -> None:
        """The client does not read what it is sent."""
        super().pause_writing()
        self._reader_timer = self.loop.call_later(self.limits.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_reader_timer()

    def connection_lost(self, error: Exception | None) -> None:
        self._expect(None)
        self._stop_reader_timer()
        super().connection_lost(error)

    def send_400_response(self, msg: str) -> None:
        self._end(Refusal(400, msg, code="invalid_http"))

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end(self, refusal: Refusal) -> None:
        """Close the connection with this as its last response, or after that to a request that is
        complete."""
        if self._is_answering() and not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif not self._ending and not self.transport.is_closing():
            self.transport.write(_plain_response(refusal))
            self.transport.close()
        self._ending = True

    def _watch_arrival(self) -> None:
        """Let a timer run exactly while a header or a body is expected or incomplete."""
        if not self._is_answering():
            self._expect("header")
        else:
            self._expect("body" if self.cycle.more_body else None)

    def _expect(self, part: str | None) -> None:
        if part == self._expected:
            return
        if self._arrival_timer is not None:
            self._arrival_timer.cancel()
        self._expected, self._arrival_timer = part, None
        if part is not None and not self.transport.is_closing():
            limits = self.limits
            seconds = limits.header_seconds if part == "header" else limits.body_seconds
            self._arrival_timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _too_slow(self) -> None:
        message = f"the request's {self._expected} did not arrive in time"
        self._end(Refusal(408, message, code="request_timeout"))


def guarded_protocol(limits: HttpLimits) -> type[GuardedProtocol]:
    """`GuardedProtocol` with these limits: uvicorn takes a class."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})


_HEADER_TOO_LONG = Refusal(
    431, f"the request's header has over {MAX_HEADER:,} bytes", code="header_too_long"
)


def _plain_response(refusal: Refusal) -> bytes:
    body = json.dumps(refusal.body()).encode()
    head = (
        f"HTTP/1.1 {refusal.status} \r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class DrainingServer(Server):  # type: ignore[misc]
    """Stops at the first SIGTERM or Ctrl-C when its running questions are done, at the second at
    once; in either case the process goes on, and may exit with 0.

    Args:
        on_stop: called when it begins to stop.
        on_end: called in the event loop when it has stopped, in time or not.
    """

    def __init__(
        self, config: Config, on_stop: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_stop, self._on_end = on_stop, on_end
        self._stopping = False

    def stop(self) -> None:
        """Begin to stop, or stop at once if it has begun already. Call it in the event loop."""
        self.force_exit, self.should_exit = self._stopping, True
        self._stopping = True
        self._on_stop()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            self._on_end()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again when it has stopped: the exit code would not be 0.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)
