"""Every runtime by name: what it reads, what it needs, and how to load it, imported on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from awares_edge.bundle.store import Bundle
from awares_edge.errors import InputError
from awares_edge.extras import install_line, missing, require
from awares_edge.runtimes.base import Runtime
from awares_edge.runtimes.threads import check_threads


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How to load a model.

    Attributes:
        device: "cpu", "cuda", "cuda:1", "tensorrt", ...; what exists depends on the runtime.
        threads: CPU threads; None lets the runtime choose.
        context: most KV cells of a session; None for the runtime's own limit.
    """

    device: str = "cpu"
    threads: int | None = None
    context: int | None = None


@dataclass(frozen=True, slots=True)
class RuntimeEntry:
    """One runtime of the registry.

    Attributes:
        summary: what it is, in a few words.
        reads: a bundle that names this runtime, or a Hugging Face checkpoint folder.
        modules: packages that must be importable; "a or b" where either will do.
        extra: what to install where they are not: `pip install 'awares-edge[extra]'`.
        load: makes the runtime from what it reads.
        devices: devices that are usable here.
    """

    name: str
    summary: str
    reads: Literal["bundle", "checkpoint", "nothing"]
    modules: tuple[str, ...]
    extra: str
    load: Callable[[Bundle | Path, RuntimeOptions], Runtime]
    devices: Callable[[], Sequence[str]]

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages that are not installed."""
        return missing(self.modules)

    @property
    def install(self) -> str:
        """The line that installs what this runtime needs."""
        return install_line(self._requirement)

    def require(self) -> None:
        """
        Raises:
            RuntimeUnavailable: a package is missing; the message says how to install it.
        """
        require(f"the {self.name} runtime", dict.fromkeys(self.modules, self._requirement))

    @property
    def _requirement(self) -> str:
        return f"awares-edge[{self.extra}]" if self.extra else "awares-edge"


def _load_onnx(source: Bundle | Path, options: RuntimeOptions) -> Runtime:
    from awares_edge.runtimes.onnx import OnnxRuntime

    assert isinstance(source, Bundle)
    return OnnxRuntime.load(
        source, device=options.device, threads=options.threads, context=options.context
    )


def _onnx_devices() -> Sequence[str]:
    from awares_edge.runtimes.onnx import usable_devices

    return usable_devices()


def _load_torch(source: Bundle | Path, options: RuntimeOptions) -> Runtime:
    from awares_edge.runtimes.torch_reference import TorchRuntime

    assert isinstance(source, Path)
    if options.threads is not None:
        import torch

        check_threads(options.threads)
        torch.set_num_threads(options.threads)
    return TorchRuntime.load(source, device=options.device, context=options.context)


def _torch_devices() -> Sequence[str]:
    import torch

    return ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]


def _load_llamacpp(source: Bundle | Path, options: RuntimeOptions) -> Runtime:
    from awares_edge.runtimes.llamacpp import LlamaRuntime

    assert isinstance(source, Bundle)
    return LlamaRuntime.load(
        source, device=options.device, threads=options.threads, context=options.context
    )


def _llamacpp_devices() -> Sequence[str]:
    from awares_edge.runtimes.llamacpp import usable_devices

    return usable_devices()


def _load_tensorrt(source: Bundle | Path, options: RuntimeOptions) -> Runtime:
    from awares_edge.runtimes.tensorrt import load_runtime

    assert isinstance(source, Bundle)
    return load_runtime(
        source, device=options.device, threads=options.threads, context=options.context
    )


def _tensorrt_devices() -> Sequence[str]:
    from awares_edge.runtimes.tensorrt import usable_devices

    return usable_devices()


def _load_null(source: Bundle | Path, options: RuntimeOptions) -> Runtime:  # noqa: ARG001
    raise InputError("the null runtime reads no model: use awares_edge.scripted() in your tests")


RUNTIMES: dict[str, RuntimeEntry] = {
    entry.name: entry
    for entry in (
        RuntimeEntry(
            "onnx",
            "onnxruntime: CPU, CUDA and TensorRT execution providers",
            "bundle",
            ("onnxruntime",),
            "",
            _load_onnx,
            _onnx_devices,
        ),
        RuntimeEntry(
            "torch",
            "transformers: the reference for parity, reads checkpoints",
            "checkpoint",
            ("torch", "transformers"),
            "torch",
            _load_torch,
            _torch_devices,
        ),
        RuntimeEntry(
            "llamacpp",
            "llama.cpp: GGUF files, quantized, on CPU and GPU",
            "bundle",
            ("llama_cpp",),
            "gguf",
            _load_llamacpp,
            _llamacpp_devices,
        ),
        RuntimeEntry(
            "tensorrt",
            "TensorRT and TensorRT-RTX engines: Jetson and NVIDIA GPUs",
            "bundle",
            ("tensorrt or tensorrt_rtx", "cuda"),
            "tensorrt",
            _load_tensorrt,
            _tensorrt_devices,
        ),
        RuntimeEntry(
            "null",
            "scripted replies, for tests of your own code",
            "nothing",
            (),
            "",
            _load_null,
            lambda: ["cpu"],
        ),
    )
}


def get_runtime(name: str) -> RuntimeEntry:
    """The registered runtime of this name.

    Raises:
        InputError: there is none.
    """
    try:
        return RUNTIMES[name]
    except KeyError:
        raise InputError(f"no runtime {name!r}: choose one of {', '.join(RUNTIMES)}") from None
