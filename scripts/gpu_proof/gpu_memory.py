"""GPU memory in use, sampled through NVIDIA's management library: any process, any framework."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress

_SAMPLES_A_SECOND = 20


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def nvml_reader() -> tuple[Callable[[], int] | None, str]:
    """Something that reads the bytes in use on all GPUs, or None and the reason why not.

    NVML needs no CUDA context, so reading takes no GPU memory itself.
    """
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None, "no NVIDIA driver here (libnvidia-ml.so.1)"
    if code := nvml.nvmlInit_v2():
        return None, f"NVIDIA's management library does not start (code {code})"
    count = ctypes.c_uint()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    handles = []
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0:
            handles.append(handle)
    if not handles:
        return None, "NVIDIA's management library sees no GPU"

    def used() -> int:
        sizes = []
        for handle in handles:
            memory = _Memory()
            if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0:
                sizes.append(int(memory.used))
        return sum(sizes)

    return used, ""


class PeakMemory:
    """The most memory in use inside a `with` block, above what was in use when it began.

    Attributes:
        peak: bytes; None where it cannot be read.
    """

    def __init__(self, used: Callable[[], int] | None) -> None:
        self._used = used
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak: int | None = None

    def __enter__(self) -> PeakMemory:
        if self._used is not None:
            self._before, self.peak = self._used(), 0
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with suppress(RuntimeError):  # never started
            self._thread.join()

    def _sample(self) -> None:
        assert self._used is not None
        while True:
            self.peak = max(self.peak or 0, self._used() - self._before)
            if self._stop.wait(1 / _SAMPLES_A_SECOND):
                return
