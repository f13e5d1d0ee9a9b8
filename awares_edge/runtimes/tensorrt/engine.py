"""A deserialized engine: tensors by name, one execution context per optimization profile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from awares_edge.errors import BundleError, SessionError
from awares_edge.runtimes.tensorrt.api import TensorRT
from awares_edge.runtimes.tensorrt.build import BuildLog, make_logger
from awares_edge.runtimes.tensorrt.cuda import Cuda

_BYTES = {"FLOAT": 4, "HALF": 2, "BF16": 2, "INT64": 8, "INT32": 4, "INT8": 1, "BOOL": 1}
_HOST: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "INT64": np.dtype(np.int64),
    "INT32": np.dtype(np.int32),
    "BOOL": np.dtype(np.bool_),
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output of an engine.

    Attributes:
        shape: -1 where a dimension depends on the call.
        kind: TensorRT's name of the dtype ("HALF", ...).
    """

    name: str
    is_input: bool
    shape: tuple[int, ...]
    kind: str

    @property
    def item(self) -> int:
        """Bytes of one number."""
        return _BYTES[self.kind]

    @property
    def host_dtype(self) -> np.dtype[Any]:
        """The numpy dtype, for tensors that the host reads or writes."""
        return _HOST[self.kind]

    def size(self, shape: tuple[int, ...]) -> int:
        """Bytes at a shape."""
        return math.prod(shape) * self.item


class Engine:
    """An engine on a device. One call at a time.

    Attributes:
        tensors: inputs and outputs by name.
        log: what TensorRT said since the engine was loaded.
    """

    def __init__(self, trt: TensorRT, blob: Any, cuda: Cuda, *, name: str, profiles: int) -> None:
        """
        Args:
            blob: the serialized engine; any buffer, read once.

        Raises:
            BundleError: TensorRT refuses the engine.
        """
        module = trt.module
        self.name = name
        self.log = BuildLog()
        self._cuda = cuda
        # Both must outlive the engine.
        self._logger = make_logger(module, self.log)
        self._runtime = module.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(blob)
        if self._engine is None:
            said = self.log.errors[0] if self.log.errors else "it gives no reason"
            raise BundleError(
                f"{trt.product} {trt.version} refuses the {name} engine ({said}): run awares-edge "
                "build-engine again"
            )
        if self._engine.num_optimization_profiles != profiles:
            raise BundleError(
                f"the {name} engine has not the {profiles} profiles of the plan: run awares-edge "
                "build-engine --force"
            )
        self.tensors = {info.name: info for info in self._read_tensors(module)}
        self._contexts = [self._context(module, index) for index in range(profiles)]

    @property
    def device_memory(self) -> int:
        """Bytes of activations, as the engine reports them."""
        for attribute in ("device_memory_size_v2", "device_memory_size"):
            if hasattr(self._engine, attribute):
                return int(getattr(self._engine, attribute))
        return 0

    def bind(self, profile: int, name: str, address: int) -> None:
        if not self._contexts[profile].set_tensor_address(name, address):
            raise SessionError(f"the {self.name} engine has no tensor {name}")

    def shape(self, profile: int, name: str, shape: tuple[int, ...]) -> None:
        if not self._contexts[profile].set_input_shape(name, shape):
            raise SessionError(
                f"the {self.name} engine does not take {name} as {list(shape)}: export with larger "
                "limits"
            )

    def enqueue(self, profile: int) -> None:
        """Run on the device's stream, asynchronously."""
        if not self._contexts[profile].execute_async_v3(self._cuda.stream):
            said = self.log.errors[-1] if self.log.errors else "it gives no reason"
            raise SessionError(f"the {self.name} engine failed: {said}")

    def close(self) -> None:
        # Contexts before their engine, the engine before its runtime.
        self._contexts.clear()
        self._engine = None
        self._runtime = None

    def _read_tensors(self, module: Any) -> list[TensorInfo]:
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        return [
            TensorInfo(
                name,
                engine.get_tensor_mode(name) == module.TensorIOMode.INPUT,
                tuple(engine.get_tensor_shape(name)),
                str(engine.get_tensor_dtype(name)).rsplit(".", 1)[-1],
            )
            for name in names
        ]

    def _context(self, module: Any, profile: int) -> Any:
        # A context that allocates for its own profile alone: the default one takes the largest of
        # all, once per context.
        strategy = module.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise MemoryError(f"no device memory for the {self.name} engine's activations")
        if not context.set_optimization_profile_async(profile, self._cuda.stream):
            raise SessionError(f"the {self.name} engine has no profile {profile}")
        self._cuda.synchronize()
        return context
