"""Standard streams that may be closed, full, without a reader, or of a small character set."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

_PLAIN = str.maketrans({"✓": "ok", "✗": "x", "…": "...", "·": "|"})
"""Signs of our own, for character sets that lack them."""


class Stream(io.TextIOBase):
    """A standard stream whose failure does not stop the work.

    Characters that its encoding lacks are written as escapes (`\\u732b`), our own signs in ASCII.

    Attributes:
        failure: the first error of a write, after which output is dropped; None before.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """
        Args:
            stream: None where the process was started with this stream closed.
        """
        self._stream = stream
        self.failure: Exception | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        # `input` edits lines with readline only where a stream says how it encodes.
        return getattr(self._stream, "errors", None) or "strict"

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("text is expected, not bytes")
        if self._stream is None and text:
            self._fail(OSError(errno.EBADF, os.strerror(errno.EBADF)))
        if self._stream is not None and self.failure is None:
            try:
                self._stream.write(self._in_its_characters(text))
            except (OSError, ValueError) as error:  # ValueError: closed in this process
                self._fail(error)
        return len(text)

    def _in_its_characters(self, text: str) -> str:
        encoding = self.encoding
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
        return text

    def flush(self) -> None:
        if self._stream is not None and self.failure is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error)

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("the stream is closed")
        return self._stream.fileno()

    @property
    def reader_has_gone(self) -> bool:
        """Whether writing failed because the other end of a pipe was closed (`| head`)."""
        return isinstance(self.failure, BrokenPipeError)

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error
            # What is left in the buffer would fail again, noisily, when Python exits.
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self.fileno())
                os.close(null)


@contextmanager
def lasting_streams() -> Iterator[Stream]:
    """Replace stdout and stderr with a `Stream` each; yields stdout's."""
    before = sys.stdout, sys.stderr
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def fill_closed_descriptors() -> None:
    """Open the null device on descriptors 0 to 2 where they are closed.

    Otherwise the next file opened gets the number, and what a library writes to stderr ends there.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
