"""One conversation in llama.cpp's cache: a sequence of a pool."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import ContextOverflow, SessionError
from awares_edge.runtimes.base import (
    ImageSegment,
    Logits,
    Mark,
    Segment,
    Session,
    TextSegment,
)
from awares_edge.runtimes.llamacpp.pool import OUTPUTS, NoSlot, Pool

if TYPE_CHECKING:
    from awares_edge.runtimes.llamacpp.runtime import LlamaRuntime


@dataclass(frozen=True, slots=True)
class SavedState:
    """A session's cache as bytes, for `LlamaRuntime.restore` of the same loaded model.

    Attributes:
        mark: cells and position at the time of saving.
        times: temporal position of each cell.
        cells: llama.cpp's own bytes.
    """

    mark: Mark
    times: bytes
    cells: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        return len(self.times) + self.cells.nbytes


class LlamaSession(Session):
    """A sequence of a pool; moves to another pool when its own has no room left.

    llama.cpp cuts a sequence by position, not by cell: `_times` knows the position of each cell.
    """

    def __init__(
        self,
        runtime: LlamaRuntime,
        pool: Pool,
        sequence: int,
        context: int,
        mark: Mark | None = None,
        times: array[int] | None = None,
    ) -> None:
        super().__init__(context, mark)
        self._runtime = runtime
        self._pool = pool
        self._sequence = sequence
        self._times = array("i") if times is None else times
        pool.count(len(self._times))

    def save(self) -> SavedState:
        """Copy the cache out, for `LlamaRuntime.restore`."""
        self._require_open()
        cells = self._pool.save(self._sequence)
        return SavedState(self.mark(), self._times.tobytes(), cells)

    def _forward(
        self, segments: Sequence[Segment], positions: NDArray[np.int64], keep_logits: int
    ) -> Logits:
        rows, start, total = [], 0, positions.shape[1]
        for segment in segments:
            end = start + segment.cells
            for left, right in self._batches(start, end, total - keep_logits):
                outputs = max(0, right - max(left, total - keep_logits))
                here = positions[:, left:right].astype(np.int32)
                rows.append(self._append(segment, left - start, here, outputs))
                self._times.extend(here[0].tolist())
                self._pool.count(right - left)
            start = end
        return np.concatenate(rows)

    def _batches(self, start: int, end: int, first_row: int) -> Iterator[tuple[int, int]]:
        """Cut [start, end) into what fits one batch, and its rows of logits into one output."""
        while start < end:
            stop = min(end, start + self._runtime.batch)
            if stop > first_row:
                # Rows begin inside: what comes before them, then at most OUTPUTS at a time.
                stop = min(stop, max(start, first_row) + OUTPUTS)
            yield start, stop
            start = stop

    def _append(
        self, segment: Segment, offset: int, positions: NDArray[np.int32], outputs: int
    ) -> Logits:
        try:
            return self._decode(segment, offset, positions, outputs)
        except NoSlot:
            self._move()
        try:
            return self._decode(segment, offset, positions, outputs)
        except NoSlot:
            raise ContextOverflow(
                f"llama.cpp has no room for {positions.shape[1]} more tokens: close pictures that "
                "are done, or use a larger --context"
            ) from None

    def _decode(
        self, segment: Segment, offset: int, positions: NDArray[np.int32], outputs: int
    ) -> Logits:
        count = positions.shape[1]
        if isinstance(segment, TextSegment):
            ids = np.array(segment.ids[offset : offset + count], dtype=np.int32)
            return self._pool.tokens(self._sequence, ids, int(positions[0, 0]), outputs)
        assert isinstance(segment, ImageSegment)
        features = np.asarray(segment.image.features)
        if features.ndim != 2 or len(features) != segment.cells:
            raise SessionError("this picture was encoded by another runtime: encode it with this")
        part = features[offset : offset + count]
        return self._pool.embeddings(self._sequence, part, positions, outputs)

    def _move(self) -> None:
        """Go on in a pool that has room for all that this session may hold."""
        state = self._pool.save(self._sequence) if self._times else None
        pool, sequence = self._runtime.place(state, self.context, avoid=self._pool)
        self._runtime.release(self._pool, self._sequence, len(self._times))
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
            pool, sequence = self._runtime.place(state, self.context, avoid=self._pool)
        times = self._times[:]
        return LlamaSession(self._runtime, pool, sequence, self.context, self.mark(), times)

    def _close(self) -> None:
        self._runtime.release(self._pool, self._sequence, len(self._times))
        del self._times[:]
