"""The language model's engine on a device: caches, in-place append, CUDA graphs for decoding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import BundleError, SessionError
from awares_edge.runtimes.tensorrt.buffers import Buffers, feed, fetch
from awares_edge.runtimes.tensorrt.cuda import Cuda
from awares_edge.runtimes.tensorrt.engine import Engine
from awares_edge.runtimes.tensorrt.graphs import Inputs
from awares_edge.runtimes.tensorrt.plan import Plan

_ALIGNMENT = 256
_PAST = "past_key_values."


@dataclass(slots=True)
class DeviceCache:
    """One conversation's keys and values: a single allocation.

    Attributes:
        base: its address.
        places: byte offset of each layer's keys and values ("0.key", ...).
        graph: decoding of one token with this cache's addresses, once it has been recorded.
        moved: `Buffers.moved` when it was.
    """

    base: int
    places: dict[str, int] = field(default_factory=dict)
    graph: Any = None
    moved: int = -1


class DeviceText:
    """Implements `TextGraph` on a GPU.

    Attributes:
        graphs: whether decoding is recorded as a CUDA graph; turns off where that fails.
        graph_error: why it did.
    """

    def __init__(self, engine: Engine, cuda: Cuda, plan: Plan, *, cuda_graphs: bool = True) -> None:
        """
        Args:
            cuda_graphs: record the decoding of one token and replay it.

        Raises:
            BundleError: the engine is not of the plan's form.
        """
        self._engine = engine
        self._cuda = cuda
        self._plan = plan
        self.graphs = cuda_graphs
        self.graph_error = ""
        self._warm: dict[int, int] = {}
        self._buffers = Buffers(cuda)
        pasts = [info for name, info in engine.tensors.items() if name.startswith(_PAST)]
        written = "present." if plan.form == "trt-kv" else "new."
        if not pasts or any(
            written + info.name.removeprefix(_PAST) not in engine.tensors for info in pasts
        ):
            raise BundleError(
                f"the text engine is not of the form {plan.form}: run awares-edge build-engine "
                "--force"
            )
        self._shape = pasts[0].shape
        self._item = pasts[0].item
        self._vocabulary = engine.tensors["logits"].shape[-1]
        step = -(-pasts[0].size(self._shape) // _ALIGNMENT) * _ALIGNMENT
        self._places = {info.name.removeprefix(_PAST): i * step for i, info in enumerate(pasts)}
        self._cache_bytes = step * len(pasts)

    def new_cache(self) -> DeviceCache:
        self._cuda.use()
        return DeviceCache(self._cuda.allocate(self._cache_bytes), self._places)

    def free_cache(self, cache: DeviceCache) -> None:
        self._cuda.use()
        self._cuda.synchronize()
        if cache.graph is not None:
            self._cuda.free_graph(cache.graph)
            cache.graph = None
        self._cuda.free(cache.base)

    def copy_cache(self, cache: DeviceCache, cells: int) -> DeviceCache:
        new = self.new_cache()
        _, heads, length, width = self._shape
        row = length * width * self._item
        if cells:
            for offset in self._places.values():
                self._cuda.copy_rows(
                    *(new.base + offset, row, cache.base + offset, row),
                    width=cells * width * self._item,
                    rows=heads,
                )
        return new

    def profile_of(self, tokens: int) -> int:
        """Which optimization profile a call of so many tokens uses."""
        return 0 if tokens == 1 or not self._plan.decode_profile else 1

    def append(self, cache: DeviceCache, inputs: Inputs, start: int) -> NDArray[np.float32]:
        engine, cuda = self._engine, self._cuda
        cuda.use()
        count = inputs["inputs_embeds"].shape[1]
        rows = len(inputs["logits_index"])
        if start + count > self._plan.cache_length:
            raise SessionError(f"cells {start} + {count} are beyond the engine's cache")
        profile = self.profile_of(count)
        alive = [
            feed(engine, profile, self._buffers, cuda, name, value)
            for name, value in inputs.items()
        ]
        logits = self._buffers.reserve("logits", rows * self._vocabulary * 4)
        engine.bind(profile, "logits", logits)
        fresh = self._bind_cache(profile, cache, count)
        self._run(profile, cache, count)
        for place, address in fresh.items():
            self._settle(cache.base + cache.places[place], address, start, count)
        out = fetch(cuda, logits, (rows, self._vocabulary))
        del alive
        return out

    def close(self) -> None:
        self._cuda.use()
        self._buffers.close()
        self._engine.close()

    def _bind_cache(self, profile: int, cache: DeviceCache, count: int) -> dict[str, int]:
        """Bind past and present; in the legacy form, where new keys and values are written to."""
        fresh = {}
        _, heads, _, width = self._shape
        for place, offset in cache.places.items():
            address = cache.base + offset
            if self._plan.form == "trt-legacy":
                self._engine.shape(profile, _PAST + place, self._shape)
                size = heads * count * width * self._item
                fresh[place] = self._buffers.reserve(f"new.{place}", size)
                self._engine.bind(profile, f"new.{place}", fresh[place])
            else:
                # The same buffer: the engine writes new cells in place.
                self._engine.bind(profile, f"present.{place}", address)
            self._engine.bind(profile, _PAST + place, address)
        return fresh

    def _settle(self, target: int, fresh: int, start: int, count: int) -> None:
        """Copy new keys or values [kv_heads, count, head_dim] to their cells."""
        _, heads, length, width = self._shape
        item = width * self._item
        self._cuda.copy_rows(
            *(target + start * item, length * item, fresh, count * item),
            width=count * item,
            rows=heads,
        )

    def _run(self, profile: int, cache: DeviceCache, count: int) -> None:
        """Enqueue a call; one token is replayed where its work was recorded before."""
        if count > 1 or not self.graphs:
            self._plain(profile, count)
            return
        cuda = self._cuda
        if cache.graph is not None and cache.moved != self._buffers.moved:
            cuda.synchronize()
            cuda.free_graph(cache.graph)
            cache.graph = None
        # TensorRT wants one plain run after a change of shapes before it can be recorded.
        if cache.graph is None and self._warm.get(profile) == 1:
            cache.graph, cache.moved = self._record(profile), self._buffers.moved
        if cache.graph is None:
            self._plain(profile, count)
        else:
            cuda.launch(cache.graph)

    def _plain(self, profile: int, count: int) -> None:
        self._engine.enqueue(profile)
        self._warm[profile] = count

    def _record(self, profile: int) -> Any:
        """The work of one call as a CUDA graph; None where it cannot be recorded."""
        try:
            self._cuda.begin_capture()
            try:
                self._engine.enqueue(profile)
            finally:
                graph = self._cuda.end_capture()
        except SessionError as error:
            # Slower, not wrong: go on without.
            self.graphs, self.graph_error = False, str(error)
            return None
        return graph
