"""Device buffers of an engine's small inputs and outputs, grown to the largest shape seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.runtimes.tensorrt.cuda import Cuda, host_array
from awares_edge.runtimes.tensorrt.engine import Engine


class Buffers:
    """Named buffers, owned here.

    Attributes:
        moved: counts reallocations: a CUDA graph that was recorded before the last one holds old
            addresses.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._held: dict[str, tuple[int, int]] = {}
        self.moved = 0

    def reserve(self, name: str, size: int) -> int:
        """The address of at least `size` bytes."""
        address, held = self._held.get(name, (0, 0))
        if size > held or not address:
            if address:
                # The stream may still read the old one.
                self._cuda.synchronize()
                self._cuda.free(address)
                self.moved += 1
            address = self._cuda.allocate(size)
            self._held[name] = (address, size)
        return address

    def close(self) -> None:
        for address, _ in self._held.values():
            self._cuda.free(address)
        self._held.clear()


def feed(
    engine: Engine, profile: int, buffers: Buffers, cuda: Cuda, name: str, value: NDArray[Any]
) -> NDArray[Any]:
    """Upload one input, set its shape and address.

    Returns:
        the array the copy reads from, to be kept alive until the stream is synchronised.
    """
    array = host_array(value, engine.tensors[name].host_dtype)
    address = buffers.reserve(name, array.nbytes)
    engine.shape(profile, name, array.shape)
    engine.bind(profile, name, address)
    cuda.upload(address, array)
    return array


def fetch(cuda: Cuda, address: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Download float32 numbers and wait for them."""
    out = np.empty(shape, dtype=np.float32)
    cuda.download(out, address)
    cuda.synchronize()
    return out
