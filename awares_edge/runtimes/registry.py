"""Every runtime by name: the module that holds it, what it reads, and what it needs.

A runtime's module has two functions, found by their names (`Backend`), and is imported when one of
them is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from awares_edge.bundle.store import Bundle
from awares_edge.errors import InputError
from awares_edge.extras import install_line, missing, require
from awares_edge.runtimes.base import Runtime
from awares_edge.runtimes.options import RuntimeOptions

__all__ = ["RUNTIMES", "Backend", "Entry", "RuntimeOptions", "get_runtime"]


class Backend(Protocol):
    """What a runtime's module offers."""

    def load(self, source: Bundle | Path, options: RuntimeOptions, /) -> Runtime:
        """Load a model from what the runtime reads: a bundle, or a checkpoint folder.

        Raises:
            InputError: the runtime cannot honour an option.
        """
        ...

    def usable_devices(self) -> Sequence[str]:
        """Devices that are usable here, best first; the first is taken where none is named."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One runtime of the registry.

    Attributes:
        module: where its `Backend` functions are.
        summary: what it is, in a few words.
        reads: a bundle that names this runtime, or a Hugging Face checkpoint folder.
        needs: packages that must be importable; "a or b" where either will do.
        extra: what to install where they are not: `pip install 'awares-edge[extra]'`.
    """

    name: str
    module: str
    summary: str
    reads: Literal["bundle", "checkpoint", "nothing"]
    needs: tuple[str, ...] = ()
    extra: str = ""

    @property
    def backend(self) -> Backend:
        """The runtime's module. Importing it needs what the runtime needs."""
        return cast("Backend", import_module(self.module))

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages that are not installed."""
        return missing(self.needs)

    @property
    def install(self) -> str:
        """The line that installs what this runtime needs."""
        return install_line(self._requirement)

    def require(self) -> None:
        """
        Raises:
            RuntimeUnavailable: a package is missing; the message says how to install it.
        """
        require(f"the {self.name} runtime", dict.fromkeys(self.needs, self._requirement))

    @property
    def _requirement(self) -> str:
        return f"awares-edge[{self.extra}]" if self.extra else "awares-edge"


RUNTIMES = {
    entry.name: entry
    for entry in (
        Entry(
            "onnx",
            "awares_edge.runtimes.onnx",
            "onnxruntime: CPU, CUDA and TensorRT execution providers",
            "bundle",
            ("onnxruntime",),
        ),
        Entry(
            "torch",
            "awares_edge.runtimes.torch_reference",
            "transformers: the reference for parity, reads checkpoints",
            "checkpoint",
            ("torch", "transformers"),
            "torch",
        ),
        Entry(
            "llamacpp",
            "awares_edge.runtimes.llamacpp",
            "llama.cpp: GGUF files, quantized, on CPU and GPU",
            "bundle",
            ("llama_cpp",),
            "gguf",
        ),
        Entry(
            "tensorrt",
            "awares_edge.runtimes.tensorrt",
            "TensorRT and TensorRT-RTX engines: Jetson and NVIDIA GPUs",
            "bundle",
            ("tensorrt or tensorrt_rtx", "cuda"),
            "tensorrt",
        ),
        Entry(
            "null",
            "awares_edge.runtimes.null",
            "scripted replies, for tests of your own code",
            "nothing",
        ),
    )
}


def get_runtime(name: str) -> Entry:
    """The registered runtime of this name.

    Raises:
        InputError: there is none.
    """
    try:
        return RUNTIMES[name]
    except KeyError:
        raise InputError(f"no runtime {name!r}: choose one of {', '.join(RUNTIMES)}") from None
