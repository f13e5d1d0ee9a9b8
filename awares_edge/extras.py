"""Optional packages: which of them are missing here, and the line that installs them."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import FrameType

from awares_edge.errors import RuntimeUnavailable


def missing(packages: Iterable[str]) -> tuple[str, ...]:
    """Packages that are not installed, by the names they are imported by.

    "a or b" is missing where both are.
    """
    return tuple(p for p in packages if not any(map(find_spec, p.split(" or "))))


def install_line(*requirements: str) -> str:
    """What to type: `pip install 'awares-edge[torch]'`."""
    return f"pip install {shlex.join(dict.fromkeys(requirements))}"


def require(purpose: str, needs: Mapping[str, str]) -> None:
    """Make sure that packages are there before something begins that needs them.

    Args:
        purpose: what needs them, as the beginning of a sentence.
        needs: by package, as for `missing`, what pip installs it from.

    Raises:
        RuntimeUnavailable: a package is missing; the message says how to install it.
    """
    if lacking := missing(needs):
        line = install_line(*(needs[package] for package in lacking))
        raise RuntimeUnavailable(f"{purpose} needs {', '.join(lacking)}: {line}")
    if "onnx" in needs:
        # Where a signal's handler raises within this import, protobuf aborts the process.
        with _signals_wait():
            import_module("onnx")


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let the handlers of signals that end a command run at the end of the block."""
    arrived: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    handlers = {}
    if threading.current_thread() is threading.main_thread():  # handlers run nowhere else
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
            if callable(handler := signal.getsignal(number)):
                handlers[number] = handler
                signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in arrived[:1]:
            signal.raise_signal(number)
