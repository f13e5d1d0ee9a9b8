"""Engines loaded on a GPU: the language model's with its caches, and the vision tower's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import BundleError, SessionError
from awares_edge.runtimes.tensorrt.device import Buffers, Cuda
from awares_edge.runtimes.tensorrt.plan import Plan
from awares_edge.runtimes.tensorrt.product import Messages, TensorRT, make_logger

_BYTES = {"FLOAT": 4, "HALF": 2, "BF16": 2, "INT64": 8, "INT32": 4, "INT8": 1, "BOOL": 1}
_HOST = {"FLOAT": np.float32, "INT64": np.int64, "INT32": np.int32, "BOOL": np.bool_}
_ALIGNMENT = 256
_PAST = "past_key_values."
_NEW = "new."


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of an engine.

    Attributes:
        shape: -1 where a dimension depends on the call.
        kind: TensorRT's name of the dtype ("HALF", ...).
    """

    is_input: bool
    shape: tuple[int, ...]
    kind: str

    @property
    def item(self) -> int:
        """Bytes of one number."""
        return _BYTES[self.kind]


class LoadedEngine:
    """A deserialized engine, with one execution context for each optimization profile.

    Not thread-safe: the caller holds `Cuda.exclusive`.

    Attributes:
        tensors: inputs and outputs by name.
        buffers: of its inputs and outputs, caches aside.
    """

    def __init__(self, trt: TensorRT, blob: Any, cuda: Cuda, *, name: str, profiles: int) -> None:
        """
        Args:
            blob: the serialized engine; any buffer, read once.
            profiles: how many the plan has.

        Raises:
            BundleError: TensorRT refuses the engine, or it does not fit the plan.
        """
        module = trt.module
        self.name = name
        self.buffers = Buffers(cuda)
        self._cuda = cuda
        self._messages = Messages()
        # Logger and runtime must outlive the engine.
        self._logger = make_logger(module, self._messages)
        self._runtime = module.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(blob)
        if self._engine is None:
            raise BundleError(
                f"{trt.product} {trt.version} refuses the {name} engine "
                f"({self._messages.reason()}): run awares-edge build-engine again"
            )
        if self._engine.num_optimization_profiles != profiles:
            raise BundleError(
                f"the {name} engine does not have the {profiles} profiles of the plan: delete it "
                "and run awares-edge build-engine again"
            )
        self.tensors = dict(self._read_tensors(module))
        self._contexts = [self._context(module, index) for index in range(profiles)]

    def bind(self, profile: int, name: str, address: int) -> None:
        """Say where a tensor is."""
        if not self._contexts[profile].set_tensor_address(name, address):
            raise SessionError(f"the {self.name} engine has no tensor {name}")

    def set_shape(self, profile: int, name: str, shape: tuple[int, ...]) -> None:
        if not self._contexts[profile].set_input_shape(name, shape):
            raise SessionError(
                f"the {self.name} engine does not take {name} as {list(shape)}: export with larger "
                "limits"
            )

    def run(
        self,
        profile: int,
        inputs: Mapping[str, NDArray[Any]],
        output: str,
        shape: tuple[int, ...],
    ) -> NDArray[np.float32]:
        """Upload inputs, compute, and download one float32 output of a known shape."""
        self._messages.clear()
        arrays: dict[str, NDArray[Any]] = {}
        for name, value in inputs.items():
            dtype = _HOST[self.tensors[name].kind]
            # Kept: an upload may read its array until the stream is synchronised.
            array = arrays[name] = np.ascontiguousarray(value, dtype=dtype)
            address = self.buffers.reserve(name, array.nbytes)
            self.set_shape(profile, name, array.shape)
            self.bind(profile, name, address)
            self._cuda.upload(address, array)
        address = self.buffers.reserve(output, math.prod(shape) * _BYTES["FLOAT"])
        self.bind(profile, output, address)
        if not self._contexts[profile].execute_async_v3(self._cuda.stream):
            raise SessionError(f"the {self.name} engine failed: {self._messages.reason()}")
        return self._cuda.download(address, shape)

    def close(self) -> None:
        self.buffers.close()
        # Contexts before their engine, the engine before its runtime.
        self._contexts.clear()
        self._engine = None
        self._runtime = None

    def _read_tensors(self, module: Any) -> list[tuple[str, Tensor]]:
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        return [
            (
                name,
                Tensor(
                    engine.get_tensor_mode(name) == module.TensorIOMode.INPUT,
                    tuple(engine.get_tensor_shape(name)),
                    str(engine.get_tensor_dtype(name)).rsplit(".", 1)[-1],
                ),
            )
            for name in names
        ]

    def _context(self, module: Any, profile: int) -> Any:
        # By default each context allocates for the largest profile; this one for its own.
        strategy = module.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise MemoryError(f"no device memory for the {self.name} engine's activations")
        if not context.set_optimization_profile_async(profile, self._cuda.stream):
            raise SessionError(f"the {self.name} engine has no profile {profile}")
        self._cuda.synchronize()
        return context


class DeviceText:
    """The language model. Any thread may call it; each cache belongs to one thread at a time.

    A cache is one allocation: the keys and values of every layer, each [1, kv_heads, cells,
    head_dim]. The engine reads it whole and returns the keys and values of the new tokens, which
    are then copied to their cells.

    Attributes:
        vocabulary: length of a row of logits.
    """

    def __init__(self, engine: LoadedEngine, cuda: Cuda, plan: Plan) -> None:
        """
        Raises:
            BundleError: the engine has no caches.
        """
        names = [name.removeprefix(_PAST) for name in engine.tensors if name.startswith(_PAST)]
        if not names or any(_NEW + name not in engine.tensors for name in names):
            raise BundleError("the text engine has no KV cache: export the checkpoint again")
        self._engine = engine
        self._cuda = cuda
        self._decode_profile = plan.decode_profile
        self.vocabulary = engine.tensors["logits"].shape[-1]
        past = engine.tensors[_PAST + names[0]]
        self._shape = past.shape
        _, self._heads, self._cells, width = past.shape
        self._cell_bytes = width * past.item
        step = self._heads * self._cells * self._cell_bytes
        step = -(-step // _ALIGNMENT) * _ALIGNMENT
        self._offsets = {name: i * step for i, name in enumerate(names)}
        self._cache_bytes = step * len(names)

    def new_cache(self) -> int:
        """The address of an empty cache."""
        with self._cuda.exclusive():
            return self._cuda.allocate(self._cache_bytes)

    def copy_cache(self, cache: int, cells: int) -> int:
        """A new cache that starts with the first `cells` cells of another one."""
        with self._cuda.exclusive():
            new = self._cuda.allocate(self._cache_bytes)
            for offset in self._offsets.values():
                self._copy(new + offset, cache + offset, self._cells, cells)
            return new

    def free_cache(self, cache: int) -> None:
        with self._cuda.exclusive():
            self._cuda.synchronize()
            self._cuda.free(cache)

    def append(
        self, cache: int, inputs: Mapping[str, NDArray[Any]], start: int
    ) -> NDArray[np.float32]:
        """Compute S tokens and write their keys and values to cells [start, start + S).

        Args:
            inputs: see `inputs.text_inputs`.

        Returns:
            float32 [K, vocabulary], for the K tokens of "logits_index".
        """
        engine, count = self._engine, inputs["inputs_embeds"].shape[1]
        profile = self._profile_of(count)
        with self._cuda.exclusive():
            new = {}
            for name, offset in self._offsets.items():
                engine.set_shape(profile, _PAST + name, self._shape)
                engine.bind(profile, _PAST + name, cache + offset)
                size = self._heads * count * self._cell_bytes
                new[name] = engine.buffers.reserve(_NEW + name, size)
                engine.bind(profile, _NEW + name, new[name])
            rows = len(inputs["logits_index"])
            logits = engine.run(profile, inputs, "logits", (rows, self.vocabulary))
            for name, offset in self._offsets.items():
                target = cache + offset + start * self._cell_bytes
                self._copy(target, new[name], count, count)
        return logits

    def close(self) -> None:
        with self._cuda.exclusive():
            self._engine.close()

    def _profile_of(self, tokens: int) -> int:
        """The optimization profile for a call of this many tokens."""
        return 1 if self._decode_profile and tokens > 1 else 0

    def _copy(self, target: int, source: int, source_cells: int, cells: int) -> None:
        """Copy the first `cells` cells of every head into a cache, from `source_cells` a head."""
        if cells:
            self._cuda.copy_rows(
                *(target, self._cells * self._cell_bytes),
                *(source, source_cells * self._cell_bytes),
                width=cells * self._cell_bytes,
                rows=self._heads,
            )


class DeviceVision:
    """The vision tower. Any thread may call it."""

    def __init__(self, engine: LoadedEngine, cuda: Cuda) -> None:
        self._engine = engine
        self._cuda = cuda
        # A model without windowed blocks has no window inputs.
        self._wanted = [name for name, tensor in engine.tensors.items() if tensor.is_input]
        self._hidden = engine.tensors["image_features"].shape[-1]

    def encode(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """float32 [T, hidden] features of one picture.

        Args:
            inputs: "pixel_values", and what `inputs.vision_inputs` gives.
        """
        wanted = {name: inputs[name] for name in self._wanted}
        shape = (len(inputs["token_place"]), self._hidden)
        with self._cuda.exclusive():
            return self._engine.run(0, wanted, "image_features", shape)

    def close(self) -> None:
        with self._cuda.exclusive():
            self._engine.close()
