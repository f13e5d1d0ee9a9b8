"""Devices of the installed llama.cpp: the CPU, and the GPUs that its build can use."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any

from awares_edge.errors import InputError
from awares_edge.runtimes.devices import Device, choose_device
from awares_edge.runtimes.llamacpp.library import Library, library

KINDS = ("cuda", "metal", "rocm", "vulkan", "sycl", "cpu")
LAYERS_VARIABLE = "LLAMA_ARG_N_GPU_LAYERS"
"""The variable of llama.cpp's own programs for the number of layers on the GPU."""
_ALL_LAYERS = 1 << 16
# ggml's short names, and the usual ones.
_KIND_OF = {"mtl": "metal"}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model's parts go.

    Attributes:
        device: the chosen device.
        handle: ggml's for it; None where all is computed on the CPU.
        layers: how many layers go to the GPU.
    """

    device: Device
    handle: int | None
    layers: int

    @property
    def gpu(self) -> bool:
        return self.handle is not None

    def handles(self) -> Any:
        """A NULL-terminated C array of the GPU, or of nothing."""
        found = [] if self.handle is None else [self.handle]
        return (ctypes.c_void_p * (len(found) + 1))(*found, None)


def place(lib: Library, wanted: str | None, layers: int | None) -> Placement:
    """Where to compute.

    Args:
        wanted: a device name; None for the best GPU that this build can use, else the CPU.
        layers: how many layers go to the GPU; None for what `LAYERS_VARIABLE` says, else all.

    Raises:
        InputError: not a device name, or no number of layers.
        RuntimeUnavailable: this build of llama.cpp cannot use the device.
    """
    gpus = _gpus(lib)
    device = choose_device(
        wanted,
        KINDS,
        lambda device: device.on_cpu or device in gpus,
        missing=f"this build of llama.cpp can use {', '.join(map(str, [*gpus, Device('cpu')]))} "
        "(docs/gguf.md says how to build it for a GPU)",
    )
    if device.on_cpu:
        return Placement(device, None, 0)
    layers = _layers(layers)
    return Placement(device, gpus[device] if layers else None, layers)


def usable_devices() -> list[str]:
    """Devices that the installed build can use here, best first."""
    return [*map(str, _gpus(library())), "cpu"]


def _gpus(lib: Library) -> dict[Device, int]:
    """ggml's handle of each GPU, best first."""
    found = {}
    for name, handle in lib.gpus().items():  # "CUDA0", "Vulkan1", "MTL0", ...
        kind = name.rstrip("0123456789").lower()
        index = name[len(kind) :]
        found[Device(_KIND_OF.get(kind, kind), int(index or 0))] = handle
    known = {device: handle for device, handle in found.items() if device.kind in KINDS}
    return dict(sorted(known.items(), key=lambda item: (KINDS.index(item[0].kind), item[0].index)))


def _layers(count: int | None) -> int:
    if count is None and (text := os.environ.get(LAYERS_VARIABLE)):
        if not text.isdecimal():
            raise InputError(f"{LAYERS_VARIABLE} must be a number of layers, not {text!r}")
        count = int(text)
    if count is None:
        return _ALL_LAYERS
    if count < 0:
        raise InputError(f"the number of layers on the GPU must be 0 or more, not {count}")
    return min(count, _ALL_LAYERS)
