"""The few CUDA calls the runtime makes, through cuda-python; errors become exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import RuntimeUnavailable, SessionError
from awares_edge.extras import install_line

_MODULES = ("cuda.bindings.runtime", "cuda.cudart")
_RELAXED = "cudaStreamCaptureModeThreadLocal"


@dataclass(frozen=True, slots=True)
class Gpu:
    """What the driver says of a device.

    Attributes:
        capability: 87 for SM 8.7.
        memory: bytes in all.
    """

    name: str
    capability: int
    memory: int


class Cuda:
    """Memory, copies, one stream and graphs on one device. Addresses are plain integers."""

    def __init__(self, index: int = 0, module: ModuleType | None = None) -> None:
        """
        Raises:
            RuntimeUnavailable: cuda-python is missing, or there is no such device.
        """
        self._rt: Any = module or _import_cudart()
        self.index = index
        try:
            self._call("cudaSetDevice", index)
            self.stream: int = int(self._call("cudaStreamCreate"))
        except SessionError as error:
            raise RuntimeUnavailable(
                f"no usable NVIDIA GPU {index} ({error}): check nvidia-smi, or use another runtime"
            ) from error

    def use(self) -> None:
        """Make the device current in this thread; CUDA remembers it per thread."""
        self._call("cudaSetDevice", self.index)

    def gpu(self) -> Gpu:
        properties = self._call("cudaGetDeviceProperties", self.index)
        name = properties.name
        return Gpu(
            name.decode() if isinstance(name, bytes) else str(name),
            10 * int(properties.major) + int(properties.minor),
            int(properties.totalGlobalMem),
        )

    def allocate(self, size: int) -> int:
        """Zeroed memory: a masked cell counts with weight 0, and 0 times NaN is NaN."""
        # TensorRT wants an address of its own for each tensor, even an empty one.
        address = int(self._call("cudaMalloc", max(size, 256)))
        self._call("cudaMemset", address, 0, max(size, 256))
        return address

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Copy a contiguous array to the device, in stream order."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)

    def download(self, array: NDArray[Any], address: int) -> None:
        """Copy to a contiguous array; complete after `synchronize`."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)

    def copy_rows(
        self, target: int, target_pitch: int, source: int, source_pitch: int, width: int, rows: int
    ) -> None:
        """Copy `rows` rows of `width` bytes within the device."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call(
            "cudaMemcpy2DAsync",
            *(target, target_pitch, source, source_pitch, width, rows, kind, self.stream),
        )

    def synchronize(self) -> None:
        self._call("cudaStreamSynchronize", self.stream)

    def begin_capture(self) -> None:
        """Record what follows on the stream in place of running it."""
        mode = getattr(self._rt.cudaStreamCaptureMode, _RELAXED)
        self._call("cudaStreamBeginCapture", self.stream, mode)

    def end_capture(self) -> Any:
        """The recorded work, ready to launch."""
        graph = self._call("cudaStreamEndCapture", self.stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Any) -> None:
        self._call("cudaGraphLaunch", graph, self.stream)

    def free_graph(self, graph: Any) -> None:
        self._call("cudaGraphExecDestroy", graph)

    def close(self) -> None:
        self._call("cudaStreamDestroy", self.stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *results = getattr(self._rt, name)(*arguments)
        if int(status) != 0:
            if getattr(status, "name", "") == "cudaErrorMemoryAllocation":
                raise MemoryError(f"{name}: out of device memory")
            raise SessionError(f"{name}: {getattr(status, 'name', status)}")
        return results[0] if results else None


def _import_cudart() -> Any:
    for name in _MODULES:
        try:
            return import_module(name)
        except (ImportError, OSError):
            continue
    raise RuntimeUnavailable(
        f"the tensorrt runtime needs cuda-python: {install_line('awares-edge[tensorrt]')}"
    )


def host_array(value: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A contiguous array of the dtype that an engine reads."""
    return np.ascontiguousarray(value, dtype=dtype)
