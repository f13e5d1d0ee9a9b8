"""A session of the `onnx` runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from awares_edge.runtimes.base import Logits, Mark, Segment, Session
from awares_edge.runtimes.onnx.cache import Cache

if TYPE_CHECKING:
    from awares_edge.runtimes.onnx.runtime import OnnxRuntime


class OnnxSession(Session):
    """A KV cache over the runtime's shared graphs.

    Rewinding is an index: cells beyond it are overwritten by the next call. A fork copies the
    cells in use and nothing else.
    """

    def __init__(
        self, runtime: OnnxRuntime, context: int, cache: Cache, mark: Mark | None = None
    ) -> None:
        super().__init__(context, mark)
        self._runtime = runtime
        self._cache: Cache | None = cache

    def _forward(
        self, segments: Sequence[Segment], positions: NDArray[np.int64], keep_logits: int
    ) -> Logits:
        cache, runtime = self._cache, self._runtime
        assert cache is not None
        start = self.cells
        count = positions.shape[1]
        stop = start + count
        cache.reserve(stop, start)
        runtime.rotary.fill(cache.cos[start:stop], cache.sin[start:stop], positions)
        return runtime.append(cache, segments, count, stop, keep_logits)

    def _truncate(self, cells: int) -> None:
        pass

    def _fork(self) -> Session:
        assert self._cache is not None
        return OnnxSession(self._runtime, self.context, self._cache.copy(self.cells), self.mark())

    def _close(self) -> None:
        self._cache = None
