"""A session of the `tensorrt` runtime: one static cache, appended to at an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awares_edge.runtimes.base import CallLimits, Logits, Mark, Piece, Session

if TYPE_CHECKING:
    from awares_edge.runtimes.tensorrt.runtime import TensorrtRuntime


class TensorrtSession(Session):
    """A KV cache over the runtime's shared engines.

    Rewinding is an index: cells beyond it are masked, and overwritten by the next call.
    """

    def __init__(
        self, runtime: TensorrtRuntime, context: int, cache: Any, mark: Mark | None = None
    ) -> None:
        super().__init__(context, runtime.vocabulary, mark)
        plan = runtime.plan
        self.limits = CallLimits(plan.prefill.max, plan.kept)
        self._runtime = runtime
        self._cache = cache

    def _forward(self, piece: Piece) -> Logits:
        return self._runtime.append(self._cache, piece)

    def _truncate(self, cells: int) -> None:
        pass

    def _fork(self) -> Session:
        cache = self._runtime.copy_cache(self._cache, self.cells)
        return TensorrtSession(self._runtime, self.context, cache, self.mark())

    def _close(self) -> None:
        self._runtime.free_cache(self._cache)
        self._cache = None
