"""Lets threads use something until it is closed, and closes it once none is using it."""

from __future__ import annotations

import threading

from awares_edge.errors import SessionError


class Gate:
    """Guards what may be closed by one thread while another uses it: `with gate: ...`.

    Args:
        message: of the `SessionError` after closing.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = self._empty = False

    @property
    def closed(self) -> bool:
        return self._closed

    def check(self) -> None:
        """Raise `SessionError` if this is closed."""
        if self._closed:
            raise SessionError(self._message)

    def __enter__(self) -> None:
        """Raises `SessionError` if this is closed."""
        with self._changed:
            self.check()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> bool:
        """Refuse new uses and wait for the running ones; True only for the first call."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0)
            first, self._empty = not self._empty, True
        return first
