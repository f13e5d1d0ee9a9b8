"""Connections that send too slowly or are too many, and the end of a server."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from awares_edge.httpd.limits import MAX_CONNECTIONS, HttpLimits
from awares_edge.httpd.refusals import Refusal


class GuardedProtocol(H11Protocol):  # type: ignore[misc]
    """uvicorn's HTTP/1.1 protocol with what it lacks: a time within which a request's header must
    have come, and a response be read; a bound on connections; errors in OpenAI's shape.

    h11 bounds the size of a header; how long a body may take is `guard.read_body`'s.
    """

    limits: ClassVar[HttpLimits]
    _header_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            refusal = Refusal(
                503, "too many connections", kind="server_error", code="too_many_connections"
            )
            transport.write(_plain_response(refusal))
            transport.close()
            return
        self._watch_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_header()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.trailing_data[0]:  # the next header has begun already
            self._watch_header()

    def pause_writing(self) -> None:
        """The client does not read what it is sent."""
        super().pause_writing()
        self._reader_timer = self.loop.call_later(self.limits.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_reader_timer()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        self._stop_reader_timer()
        super().connection_lost(error)

    def send_400_response(self, msg: str) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_plain_response(Refusal(400, msg, code="invalid_http")))
        self.transport.close()

    def _watch_header(self) -> None:
        """Let the timer run exactly while a header is expected or incomplete."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
        elif self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.limits.header_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            message = "the request's header did not arrive in time"
            self.transport.write(_plain_response(Refusal(408, message, code="request_timeout")))
            self.transport.close()


def guarded_protocol(limits: HttpLimits) -> type[GuardedProtocol]:
    """`GuardedProtocol` with these limits: uvicorn takes a class."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})


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
