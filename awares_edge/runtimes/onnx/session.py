"""A session of the `onnx` runtime."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from awares_edge.runtimes.base import Logits, Mark, Piece, Session
from awares_edge.runtimes.onnx.cache import Cache
from awares_edge.runtimes.onnx.text import TextGraph


class OnnxSession(Session):
    """A KV cache over a shared graph.

    Rewinding is an index: cells beyond it are overwritten by the next call. A fork copies the
    cells in use and nothing else.
    """

    def __init__(
        self, graph: TextGraph, context: int, cache: Cache, mark: Mark | None = None
    ) -> None:
        super().__init__(context, graph.vocabulary, mark)
        self._graph = graph
        self._cache: Cache | None = cache

    def _forward(self, piece: Piece) -> Logits:
        assert self._cache is not None
        return self._graph.append(self._cache, piece)

    def _truncate(self, cells: int) -> None:
        pass

    def _fork(self) -> Session:
        assert self._cache is not None
        return OnnxSession(self._graph, self.context, self._cache.copy(self.cells), self.mark())

    def _save(self) -> dict[str, NDArray[Any]]:
        assert self._cache is not None
        return self._cache.save(self.cells)

    def _close(self) -> None:
        self._cache = None
