"""Calls fsync on a thread, so that the run does not wait for the disk."""

from __future__ import annotations

import os
import threading


class Sync:
    """Calls fsync on a file at most a second after something was written to it.

    A thread does it: the disk takes up to 10 ms, longer than a small model takes for a question.
    """

    def __init__(self, descriptor: int, seconds: float = 1.0) -> None:
        self._descriptor, self._seconds = descriptor, seconds
        self._written, self._closed = threading.Event(), threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    def written(self) -> None:
        """Say that something was written.

        Raises:
            OSError: an earlier write did not reach the disk.
        """
        if self._error is not None:
            raise self._error
        if not self._written.is_set():
            self._written.set()

    def close(self) -> None:
        """Bring the rest to the disk.

        Raises:
            OSError: a write did not reach it.
        """
        self._closed.set()
        self._written.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while self._error is None:
            self._written.wait()
            last = self._closed.wait(self._seconds)
            self._written.clear()  # before fsync: what is written meanwhile belongs to the next one
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self._error = error
            if last:
                return
