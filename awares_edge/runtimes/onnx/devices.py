"""Devices by name, and the onnxruntime execution providers behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from awares_edge.errors import InputError, RuntimeUnavailable
from awares_edge.extras import install_line

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model computes.

    Attributes:
        kind: "cpu", "cuda" or "tensorrt".
        index: which GPU.
    """

    kind: str
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> Device:
        """Read "cpu", "cuda", "cuda:1", "tensorrt", ...

        Raises:
            InputError: no such device.
            RuntimeUnavailable: the installed onnxruntime cannot use it.
        """
        kind, _, index = text.partition(":")
        if kind not in _PROVIDERS or not (index.isdecimal() or text == kind):
            raise InputError(f"no device {text!r}: choose cpu, cuda, cuda:N or tensorrt")
        if kind not in usable_devices():
            raise RuntimeUnavailable(
                f"the installed onnxruntime cannot use {kind}: pip uninstall onnxruntime, then "
                f"{install_line('awares-edge[onnx-gpu]')}"
            )
        return cls(kind, int(index or 0))

    @property
    def on_cpu(self) -> bool:
        return self.kind == "cpu"

    @property
    def memory(self) -> str:
        """Name of the memory that onnxruntime allocates tensors in."""
        return "cpu" if self.on_cpu else "cuda"

    def providers(self) -> list[Any]:
        """Execution providers to try, best first: what one cannot compute goes to the next."""
        options = {"device_id": str(self.index)}
        kinds = {"cpu": [], "cuda": ["cuda"], "tensorrt": ["tensorrt", "cuda"]}[self.kind]
        return [(_PROVIDERS[kind], options) for kind in kinds] + [_PROVIDERS["cpu"]]

    def __str__(self) -> str:
        return self.kind if self.on_cpu else f"{self.kind}:{self.index}"


def usable_devices() -> list[str]:
    """Devices that the installed onnxruntime offers."""
    import onnxruntime

    offered = onnxruntime.get_available_providers()
    return [kind for kind, provider in _PROVIDERS.items() if provider in offered]
