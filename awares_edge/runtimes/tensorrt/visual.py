"""The vision tower's engine on a device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from awares_edge.runtimes.tensorrt.buffers import Buffers, feed, fetch
from awares_edge.runtimes.tensorrt.cuda import Cuda
from awares_edge.runtimes.tensorrt.engine import Engine
from awares_edge.runtimes.tensorrt.graphs import Inputs


class DeviceVision:
    """Implements `VisionGraph` on a GPU."""

    def __init__(self, engine: Engine, cuda: Cuda) -> None:
        self._engine = engine
        self._cuda = cuda
        self._buffers = Buffers(cuda)
        self._hidden = engine.tensors["image_features"].shape[-1]

    def encode(self, inputs: Inputs) -> NDArray[np.float32]:
        engine, cuda = self._engine, self._cuda
        cuda.use()
        # A model without windowed blocks has no window inputs.
        alive = [
            feed(engine, 0, self._buffers, cuda, name, inputs[name])
            for name, info in engine.tensors.items()
            if info.is_input
        ]
        tokens = len(inputs["token_place"])
        features = self._buffers.reserve("image_features", tokens * self._hidden * 4)
        engine.bind(0, "image_features", features)
        engine.enqueue(0)
        out = fetch(cuda, features, (tokens, self._hidden))
        del alive
        return out

    def close(self) -> None:
        self._cuda.use()
        self._buffers.close()
        self._engine.close()
