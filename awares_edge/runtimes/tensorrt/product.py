"""The TensorRT products: `tensorrt` (full) and `tensorrt_rtx` (consumer GPUs).

Their Python APIs share every name used here. Nothing is imported before it is needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from awares_edge.errors import RuntimeUnavailable
from awares_edge.extras import install_line, missing

# TensorRT only warns about an input that it parses and then does not use; the engine would then
# not compute what the graph says.
_IGNORED = re.compile(r"ignor|not used|unused|will have no effect", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TensorRT:
    """An imported product.

    Attributes:
        product: "tensorrt" or "tensorrt-rtx".
        version: the library's own version string, such as "10.3.0.26".
        module: the Python module.
    """

    product: str
    version: str
    module: Any

    @property
    def rtx(self) -> bool:
        return self.product == "tensorrt-rtx"


def load_tensorrt(*, rtx: bool) -> TensorRT:
    """Import a product.

    Raises:
        RuntimeUnavailable: it is not installed, or its libraries cannot be loaded.
    """
    # The product is also the name of the extra that installs it.
    product, name = ("tensorrt-rtx", "tensorrt_rtx") if rtx else ("tensorrt", "tensorrt")
    if missing([name]):
        raise RuntimeUnavailable(
            f"{product} is not installed: {install_line(f'awares-edge[{product}]')} (on a Jetson "
            "it comes with JetPack: create the environment with --system-site-packages)"
        )
    try:
        module = import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RuntimeUnavailable(
            f"{product} is installed but cannot be loaded ({reason}): install the libraries of the "
            "same version"
        ) from error
    return TensorRT(product, str(module.__version__), module)


def version_tuple(text: str) -> tuple[int, ...]:
    """ "10.3.0.26" as (10, 3, 0, 26); stops at the first part that is not a number."""
    numbers = []
    for part in text.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


@dataclass(slots=True)
class Messages:
    """What TensorRT logged.

    Attributes:
        errors, warnings: one line each, in order.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ignored_inputs(self) -> list[str]:
        """Warnings that part of the graph is not computed."""
        return [line for line in self.warnings if _IGNORED.search(line)]

    def reason(self) -> str:
        """The first error."""
        return self.errors[0] if self.errors else "it gives no reason"

    def clear(self) -> None:
        self.errors.clear()
        self.warnings.clear()


def make_logger(module: Any, messages: Messages) -> Any:
    """A TensorRT logger that appends to `messages`."""

    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            line = " ".join(message.split())
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                messages.errors.append(line)
            elif severity == module.ILogger.WARNING:
                messages.warnings.append(line)

    return Logger()
