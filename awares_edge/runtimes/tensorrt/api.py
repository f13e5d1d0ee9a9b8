"""The two TensorRT products behind one door: `tensorrt` (full) and `tensorrt_rtx` (consumer GPUs).

Their Python APIs share the names used here; nothing is imported before it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from awares_edge.errors import RuntimeUnavailable
from awares_edge.extras import install_line, missing

PRODUCTS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Product name to module name."""


@dataclass(frozen=True, slots=True)
class TensorRT:
    """An imported product.

    Attributes:
        product: "tensorrt" or "tensorrt-rtx".
        version: as the library says it, "10.3.0.26".
        module: the Python module.
    """

    product: str
    version: str
    module: Any

    @property
    def rtx(self) -> bool:
        return self.product == "tensorrt-rtx"


def product_name(*, rtx: bool) -> str:
    return "tensorrt-rtx" if rtx else "tensorrt"


def load_tensorrt(*, rtx: bool) -> TensorRT:
    """Import a product.

    Raises:
        RuntimeUnavailable: it is not installed, or its libraries cannot be loaded.
    """
    product = product_name(rtx=rtx)
    name = PRODUCTS[product]
    extra = "tensorrt-rtx" if rtx else "tensorrt"
    if missing([name]):
        raise RuntimeUnavailable(
            f"{product} is not installed: {install_line(f'awares-edge[{extra}]')} (on a Jetson it "
            "comes with JetPack: make the environment with --system-site-packages)"
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
    """ "10.3.0.26" as (10, 3, 0, 26); what is no number ends it."""
    numbers = []
    for part in text.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


def check_version(version: str, span: tuple[str, str], *, product: str) -> None:
    """
    Args:
        version: of the library here.
        span: oldest and newest version that a bundle's graphs are for; compared by major and minor.

    Raises:
        RuntimeUnavailable: the library is outside the span.
    """
    here = version_tuple(version)[:2]
    low, high = (version_tuple(end)[:2] for end in span)
    if not low <= here <= high:
        raise RuntimeUnavailable(
            f"this bundle is for {product} {span[0]} to {span[1]}, here is {version}: export the "
            "checkpoint for this device's --target"
        )
