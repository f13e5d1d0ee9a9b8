"""Device names of this runtime."""

from __future__ import annotations

from awares_edge.errors import InputError, RuntimeUnavailable
from awares_edge.runtimes.llamacpp.library import Library

ALL_LAYERS = 1 << 16


def read_device(lib: Library, device: str) -> int:
    """How many layers go to the GPU: "cpu" none, "gpu" all, "gpu:N" N of them.

    Raises:
        InputError: not a device name.
        RuntimeUnavailable: this build of llama.cpp has no GPU.
    """
    kind, _, count = device.partition(":")
    if device == "cpu":
        return 0
    if kind != "gpu" or (count and not count.isdecimal()):
        raise InputError(f"no device {device!r}: choose cpu, gpu, or gpu:N for N layers")
    if not lib.llama.llama_supports_gpu_offload():
        raise RuntimeUnavailable(
            "this llama.cpp was built for the CPU alone: build it for your GPU (docs/gguf.md has "
            "the flags), or use --device cpu"
        )
    return int(count) if count else ALL_LAYERS
