"""SIGTERM and SIGHUP end a command as Ctrl-C does: temporary files are removed first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
EXIT_CODES = tuple(128 + number for number in _SIGNALS)
"""Of a process that one of the signals ended, as shells number them."""


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise SystemExit in the main thread at the first of the signals; ignore further ones.

    Its code is one of `EXIT_CODES`.

    A signal that is ignored (`nohup`) or handled already is left alone.
    """

    def stop(number: int, _: FrameType | None) -> None:
        for handled in taken:
            signal.signal(handled, signal.SIG_IGN)
        raise SystemExit(128 + number)

    taken: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                taken.append(number)
                signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
