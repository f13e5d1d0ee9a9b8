"""One conversation in llama.cpp's cache: a sequence of a pool."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import ContextOverflow, SessionError
from awares_edge.runtimes.base import CallLimits, Logits, Mark, Piece, Session, TextSegment
from awares_edge.runtimes.llamacpp.pool import OUTPUTS, NoSlot, Pool
from awares_edge.runtimes.llamacpp.pools import Pools


class LlamaSession(Session):
    """A sequence of a pool; moves to another pool when its own has no room left.

    llama.cpp cuts a sequence by position, not by cell: `_times` knows the position of each cell.
    """

    def __init__(
        self,
        pools: Pools,
        home: tuple[Pool, int],
        context: int,
        mark: Mark | None = None,
        times: array[int] | None = None,
    ) -> None:
        """
        Args:
            pools: where to go when `home` has no room left.
            home: a context and this session's sequence in it.
            times: temporal position of each cell that the sequence holds already.
        """
        super().__init__(context, pools.vocabulary, mark)
        self.limits = CallLimits(pools.batch, OUTPUTS, mixed=False)
        self._pools = pools
        self._pool, self._sequence = home
        self._times = array("i") if times is None else times
        self._pool.count(len(self._times))

    def _forward(self, piece: Piece) -> Logits:
        rows = self._append(piece)
        self._times.extend(piece.positions[0].tolist())
        self._pool.count(piece.cells)
        return rows

    def _append(self, piece: Piece) -> Logits:
        try:
            return self._decode(piece)
        except NoSlot:
            self._move()
        try:
            return self._decode(piece)
        except NoSlot:
            raise ContextOverflow(
                f"llama.cpp has no room for {piece.cells} more tokens: close pictures that are "
                "done, or use a larger context"
            ) from None

    def _decode(self, piece: Piece) -> Logits:
        (part,) = piece.parts
        positions = piece.positions.astype(np.int32)
        if isinstance(part, TextSegment):
            ids = np.array(part.ids, dtype=np.int32)
            return self._pool.tokens(self._sequence, ids, int(positions[0, 0]), piece.keep)
        features = np.asarray(part.features)
        if features.ndim != 2 or len(features) != part.cells:
            raise SessionError(
                "the picture was encoded by another runtime: encode it with this one"
            )
        return self._pool.embeddings(self._sequence, features, positions, piece.keep)

    def _move(self) -> None:
        """Go on in a pool that has room for all that this session may hold."""
        state = self._pool.save(self._sequence) if self._times else None
        pool, sequence = self._pools.place(state, self.context, avoid=self._pool)
        self._pools.release(self._pool, self._sequence, len(self._times))
        self._pool, self._sequence = pool, sequence
        pool.count(len(self._times))

    def _truncate(self, cells: int) -> None:
        if cells >= len(self._times):
            return
        position = self._times[cells]
        if cells and self._times[cells - 1] == position:
            raise SessionError("cannot rewind into the middle of a picture")
        self._pool.cut(self._sequence, position)
        self._pool.count(cells - len(self._times))
        del self._times[cells:]

    def _fork(self) -> LlamaSession:
        pool, sequence = self._pool, self._pool.acquire()
        if sequence is not None:
            pool.copy(self._sequence, sequence)
        else:
            state = self._pool.save(self._sequence) if self._times else None
            pool, sequence = self._pools.place(state, self.context, avoid=self._pool)
        home = (pool, sequence)
        return LlamaSession(self._pools, home, self.context, self.mark(), self._times[:])

    def _save(self) -> dict[str, NDArray[Any]]:
        """`times`: int32 [cells], the temporal position of each; `state`: llama.cpp's own bytes."""
        times = np.array(self._times, dtype=np.int32)
        return {"times": times, "state": self._pool.save(self._sequence)}

    def _close(self) -> None:
        self._pools.release(self._pool, self._sequence, len(self._times))
        del self._times[:]
