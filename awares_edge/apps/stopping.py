"""SIGTERM and SIGHUP end a command as Ctrl-C does: temporary files are removed first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
EXIT_CODES = tuple(128 + number for number in _SIGNALS)
"""Of a process that one of the signals ended, as shells number them."""


@dataclass
class Stop:
    """Whether a signal has asked the command to end.

    Attributes:
        code: exit code, one of `EXIT_CODES`; None where none has.
    """

    code: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Raise SystemExit in the main thread at the first of the signals; ignore further ones.

    Its code is one of `EXIT_CODES`. What it passes through may replace it by another exception, so
    the yielded `Stop` holds the code too.

    A signal that is ignored (`nohup`) or handled already is left alone.
    """

    def end(number: int, _: FrameType | None) -> None:
        for handled in taken:
            signal.signal(handled, signal.SIG_IGN)
        stop.code = 128 + number
        raise SystemExit(stop.code)

    stop = Stop()
    taken: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                taken.append(number)
                signal.signal(number, end)
    try:
        yield stop
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
