"""One HTTP request on its way, and its response within bounds."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import suppress

from awares_edge.errors import AwaresError

MAX_REPLY_BYTES = 16 << 20
"""Longest response that is read, in bytes."""
MAX_ERROR_BYTES = 64 << 10
"""How much of an error's body is read, in bytes."""
_PIECE = 1 << 16


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
                # Not TLS's own shutdown, which is not safe while another thread reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
