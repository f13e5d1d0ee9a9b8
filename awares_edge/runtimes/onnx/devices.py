"""Devices of onnxruntime: its execution providers, and whether they really start here."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from functools import lru_cache
from typing import Any

import onnxruntime as ort

from awares_edge.extras import install_line
from awares_edge.runtimes.devices import Device, choose_device

# Best first. TensorRT's provider comes last: its first run builds engines for minutes.
KINDS = ("cuda", "cpu", "tensorrt")
_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# A graph of one Neg: the smallest that shows whether a provider starts.
_PROBE = bytes.fromhex(
    "08083a320a0b0a017812017922034e65671201705a0f0a0178120a0a08080112040a02"
    "0801620f0a0179120a0a08080112040a02080142040a001011"
)
_SILENT = 4


def choose(wanted: str | None) -> Device:
    """The device to compute on; None for CUDA where it starts, else the CPU.

    Raises:
        InputError: no such device.
        RuntimeUnavailable: the installed onnxruntime cannot use it here.
    """
    missing = (
        "onnxruntime-gpu and a GPU that its CUDA libraries can use are needed (pip uninstall "
        f"onnxruntime, then {install_line('awares-edge[onnx-gpu]')})"
    )
    return choose_device(wanted, KINDS, usable, missing=missing)


def usable_devices() -> list[str]:
    """Devices that the installed onnxruntime can use here, best first."""
    return [kind for kind in KINDS if usable(Device(kind))]


def providers(device: Device) -> list[Any]:
    """Execution providers to try, best first: what one cannot compute goes to the next."""
    options = {"device_id": str(device.index)}
    kinds = {"cpu": [], "cuda": ["cuda"], "tensorrt": ["tensorrt", "cuda"]}[device.kind]
    return [(_PROVIDERS[kind], options) for kind in kinds] + [_PROVIDERS["cpu"]]


def memory(device: Device) -> str:
    """Name of the memory that onnxruntime allocates a device's tensors in."""
    return "cpu" if device.on_cpu else "cuda"


@lru_cache
def _load_cuda() -> None:
    """Load the CUDA libraries that pip installed with onnxruntime-gpu, if it can.

    What it cannot find it prints: the session that follows says the same as an error.
    """
    if hasattr(ort, "preload_dlls"):  # since 1.21
        with redirect_stdout(io.StringIO()):
            ort.preload_dlls()


@lru_cache
def usable(device: Device) -> bool:
    """Whether the device's provider starts here.

    onnxruntime-gpu offers its providers on a machine without a GPU too, and then computes on the
    CPU without an error: only a session shows it.
    """
    if device.on_cpu:
        return True
    name = _PROVIDERS[device.kind]
    if name not in ort.get_available_providers():
        return False
    _load_cuda()
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    try:
        session = ort.InferenceSession(
            _PROBE, options, providers=providers(device), enable_fallback=0
        )
    except Exception:  # onnxruntime raises its own bare exceptions
        return False
    return name in session.get_providers()
