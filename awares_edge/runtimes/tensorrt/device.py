"""One NVIDIA GPU: its memory, copies and one stream, through cuda-python."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import RuntimeUnavailable, SessionError
from awares_edge.extras import install_line

_MODULES = ("cuda.bindings.runtime", "cuda.cudart")
_LEAST = 256
"""TensorRT needs a distinct address for each tensor, even an empty one."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its driver describes it.

    Attributes:
        capability: 87 for SM 8.7.
    """

    name: str
    capability: int


class Cuda:
    """Memory, copies and one stream of one GPU. Addresses are plain integers."""

    def __init__(self, index: int = 0, cudart: Any = None) -> None:
        """
        Args:
            cudart: replaces cuda-python's runtime module, for tests.

        Raises:
            RuntimeUnavailable: cuda-python is missing, or there is no such GPU.
        """
        self._rt = cudart or _import_cudart()
        self._lock = threading.RLock()
        self.index = index
        try:
            self._call("cudaSetDevice", index)
            self.stream = int(self._call("cudaStreamCreate"))
        except SessionError as error:
            raise RuntimeUnavailable(
                f"no usable NVIDIA GPU {index} ({error}): check nvidia-smi, or use another runtime"
            ) from error
        # At exit the driver may be gone before this object is, and frees the stream itself.
        weakref.finalize(self, self._rt.cudaStreamDestroy, self.stream).atexit = False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the GPU for this thread: an engine's activation memory serves one call at a time."""
        with self._lock:
            # CUDA keeps the current device per thread.
            self._call("cudaSetDevice", self.index)
            yield

    def gpu(self) -> Gpu:
        properties = self._call("cudaGetDeviceProperties", self.index)
        name = properties.name
        return Gpu(
            name.decode() if isinstance(name, bytes) else str(name),
            10 * int(properties.major) + int(properties.minor),
        )

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of zeros.

        Raises:
            MemoryError: there is not enough device memory.
        """
        size = max(size, _LEAST)
        address = int(self._call("cudaMalloc", size))
        # A masked cell has weight 0, but 0 times a NaN is NaN.
        self._call("cudaMemset", address, 0, size)
        return address

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Copy a contiguous array to the device, in stream order."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)

    def download(self, address: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Wait for the stream, and return float32 numbers."""
        array = np.empty(shape, dtype=np.float32)
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)
        self.synchronize()
        return array

    def copy_rows(
        self, target: int, target_pitch: int, source: int, source_pitch: int, width: int, rows: int
    ) -> None:
        """Copy `rows` rows of `width` bytes within the device, in stream order."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call(
            "cudaMemcpy2DAsync",
            *(target, target_pitch, source, source_pitch, width, rows, kind, self.stream),
        )

    def synchronize(self) -> None:
        """Wait for everything enqueued on the stream."""
        self._call("cudaStreamSynchronize", self.stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *results = getattr(self._rt, name)(*arguments)
        if int(status) != 0:
            if getattr(status, "name", "") == "cudaErrorMemoryAllocation":
                raise MemoryError(f"{name}: out of device memory")
            raise SessionError(f"{name}: {getattr(status, 'name', status)}")
        return results[0] if results else None


class Buffers:
    """Named device buffers, each as large as the largest size asked for so far."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._held: dict[str, tuple[int, int]] = {}

    def reserve(self, name: str, size: int) -> int:
        """The address of at least `size` bytes; a buffer that grows moves and loses its content."""
        address, held = self._held.get(name, (0, 0))
        if address and size <= held:
            return address
        if address:
            # The stream may still read the old one.
            self._cuda.synchronize()
            del self._held[name]
            self._cuda.free(address)
        address = self._cuda.allocate(size)
        self._held[name] = (address, size)
        return address

    def close(self) -> None:
        for address, _ in self._held.values():
            self._cuda.free(address)
        self._held.clear()


def _import_cudart() -> Any:
    for name in _MODULES:
        try:
            return import_module(name)
        except (ImportError, OSError):
            continue
    raise RuntimeUnavailable(
        f"the tensorrt runtime needs cuda-python: {install_line('awares-edge[tensorrt]')}"
    )


def usable_devices() -> list[str]:
    """["cuda:0"], or nothing where there is no usable GPU."""
    try:
        return [f"cuda:{Cuda().index}"]
    except RuntimeUnavailable:
        return []
