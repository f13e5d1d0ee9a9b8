"""The KV cache of one session: buffers that onnxruntime reads and writes in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from awares_edge.runtimes.devices import Device
from awares_edge.runtimes.onnx.devices import memory
from awares_edge.runtimes.saved import SavedSession
from awares_edge.spec import ModelSpec

# Cells are allocated in steps of this many: a 32k context costs memory only when it is used, and
# onnxruntime's attention scratch, which is as long as the buffers, stays in proportion too.
STEP = 256


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What the caches of a loaded model have in common."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: np.dtype[Any]
    device: Device

    @classmethod
    def of(cls, spec: ModelSpec, dtype: np.dtype[Any], device: Device) -> CacheShape:
        return cls(spec.layers, spec.kv_heads, spec.head_dim, dtype, device)

    def buffer(self, cells: int) -> tuple[int, int, int, int]:
        return (1, self.kv_heads, cells, self.head_dim)


class Cache:
    """Keys and values of all layers, [1, kv_heads, capacity, head_dim] each, bound as `past` and
    as `present`, and two tables with the rotary angles of each cell.

    Attributes:
        capacity: cells that the buffers hold.
        binding: the io binding with all buffers bound.
        cos, sin: [capacity, head_dim / 2] on the host.
    """

    def __init__(self, session: ort.InferenceSession, shape: CacheShape, context: int) -> None:
        self._session = session
        self._shape = shape
        self._context = context
        self._buffers: list[NDArray[Any]] = []
        self._values: list[ort.OrtValue] = []
        self.capacity = 0
        self.binding = session.io_binding()
        self.cos = self.sin = np.empty((0, shape.head_dim // 2), dtype=shape.dtype)

    def reserve(self, cells: int, used: int) -> None:
        """Make room for `cells` cells, keeping the first `used`."""
        if cells <= self.capacity:
            return
        capacity = -(-cells // STEP) * STEP
        if not self._shape.device.on_cpu:
            # Device buffers cannot be copied in part from Python: take the whole context at once.
            capacity = self._context
        self._resize(min(capacity, self._context), self, used)

    def copy(self, used: int) -> Cache:
        """A cache of its own that starts with the first `used` cells of this one."""
        other = Cache(self._session, self._shape, self._context)
        if used:
            on_cpu = self._shape.device.on_cpu
            capacity = -(-used // STEP) * STEP if on_cpu else self._context
            other._resize(min(capacity, self._context), self, used)
        return other

    def save(self, used: int) -> dict[str, NDArray[Any]]:
        """Copies of the first `used` cells, all layers in one array: see `fill`."""
        shape = self._shape
        kv = np.empty((2 * shape.layers, shape.kv_heads, used, shape.head_dim), shape.dtype)
        for i in range(len(self._values)):
            on_cpu = shape.device.on_cpu
            buffer = self._buffers[i] if on_cpu else self._values[i].numpy()
            kv[i] = buffer[0, :, :used]
        return {"kv": kv, "cos": self.cos[:used].copy(), "sin": self.sin[:used].copy()}

    def fill(self, saved: SavedSession) -> None:
        """Fill this empty cache with cells from `save`.

        Raises:
            SessionError: they are not of this model.
        """
        shape, used = self._shape, saved.mark.cells
        size = (2 * shape.layers, shape.kv_heads, used, shape.head_dim)
        kv = saved.array("kv", shape.dtype, size)
        cos, sin = (
            saved.array(name, shape.dtype, (used, shape.head_dim // 2)) for name in ("cos", "sin")
        )
        self.reserve(used, 0)
        for i, value in enumerate(self._values):
            if shape.device.on_cpu:
                self._buffers[i][0, :, :used] = kv[i]
            else:
                # Device buffers cannot be written in part from Python.
                buffer = np.zeros(shape.buffer(self.capacity), shape.dtype)
                buffer[0, :, :used] = kv[i]
                value.update_inplace(buffer)
        self.cos[:used], self.sin[:used] = cos, sin

    def bind_rotary(self, cells: int) -> None:
        """Bind the rotary tables; off the CPU only the `cells` rows in use are sent."""
        if not self._shape.device.on_cpu:
            self.binding.bind_cpu_input("rotary_cos", self.cos[:cells])
            self.binding.bind_cpu_input("rotary_sin", self.sin[:cells])

    def _resize(self, capacity: int, source: Cache, used: int) -> None:
        shape = self._shape
        # Layer by layer, so that old and new buffers of only one layer exist at a time.
        buffers, values = [], []
        for i in range(2 * shape.layers):
            if shape.device.on_cpu:
                buffer = np.empty(shape.buffer(capacity), dtype=shape.dtype)
                if used:
                    buffer[:, :, :used] = source._buffers[i][:, :, :used]
                buffers.append(buffer)
                value = ort.OrtValue.ortvalue_from_numpy(buffer)
            else:
                device = (memory(shape.device), shape.device.index)
                value = ort.OrtValue.ortvalue_from_shape_and_type(
                    shape.buffer(capacity), shape.dtype, *device
                )
                if used:
                    value.update_inplace(source._values[i].numpy())
            values.append(value)
            self._bind(i, value)
            if source is self and i < len(self._values):
                self._values[i] = value
                if shape.device.on_cpu:
                    self._buffers[i] = buffer
        cos, sin = (np.zeros((capacity, shape.head_dim // 2), shape.dtype) for _ in range(2))
        cos[:used], sin[:used] = source.cos[:used], source.sin[:used]
        if shape.device.on_cpu:
            for name, table in (("rotary_cos", cos), ("rotary_sin", sin)):
                self.binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(table))
        self.cos, self.sin = cos, sin
        self._buffers, self._values, self.capacity = buffers, values, capacity

    def _bind(self, index: int, value: ort.OrtValue) -> None:
        layer, part = divmod(index, 2)
        name = f"{layer}.{('key', 'value')[part]}"
        self.binding.bind_ortvalue_input(f"past_key_values.{name}", value)
        self.binding.bind_ortvalue_output(f"present.{name}", value)
