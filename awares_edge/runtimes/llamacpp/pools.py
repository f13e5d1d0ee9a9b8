"""All contexts of a loaded model: sessions find room here, and more is made where there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import ContextOverflow, SessionError
from awares_edge.runtimes.llamacpp.pool import NoSlot, Pool


class Pools:
    """Contexts that sessions share. Safe to share between threads.

    Attributes:
        all: the contexts, of which the first lives as long as the model.
        batch: most tokens that a context computes at once.
        vocabulary: length of a row of logits.
    """

    def __init__(self, make: Callable[[], Pool], *, batch: int, vocabulary: int) -> None:
        """
        Args:
            make: makes one more context; raises what `Pool` raises.
        """
        self.batch = batch
        self.vocabulary = vocabulary
        self._make = make
        self._lock = threading.Lock()
        # The first one is made at once, so that a lack of memory shows when the model is loaded.
        self.all = [make()]

    def acquire(self, cells: int, *, avoid: Pool | None = None) -> tuple[Pool, int]:
        """An empty sequence in a context with room for `cells`; a new context if there is none.

        Raises:
            SessionError: the contexts are closed.
        """
        with self._lock:
            if not self.all:
                raise SessionError("this model is closed: load it again")
            for pool in self.all:
                if pool is avoid or pool.used + cells > pool.cells:
                    continue
                sequence = pool.acquire()
                if sequence is not None:
                    return pool, sequence
            pool = self._make()
            self.all.append(pool)
            sequence = pool.acquire()
            assert sequence is not None
            return pool, sequence

    def place(
        self, state: NDArray[np.uint8] | None, cells: int, *, avoid: Pool | None = None
    ) -> tuple[Pool, int]:
        """A sequence that holds a saved one, in a context with room for `cells`.

        Raises:
            ContextOverflow: llama.cpp finds no room for it.
        """
        pool, sequence = self.acquire(cells, avoid=avoid)
        try:
            if state is not None:
                pool.restore(sequence, state)
        except NoSlot:
            self.release(pool, sequence, 0)
            raise ContextOverflow(
                "llama.cpp has no room for a copy of the cache: close pictures that are done, or "
                "use a larger context"
            ) from None
        return pool, sequence

    def release(self, pool: Pool, sequence: int, cells: int) -> None:
        """Take a sequence of `cells` cells back; an empty extra context is freed."""
        with self._lock:
            if pool not in self.all:
                return
            pool.release(sequence)
            pool.count(-cells)
            if not pool.sessions and pool is not self.all[0]:
                self.all.remove(pool)
                pool.close()

    def close(self) -> None:
        """Free all contexts. Closing twice is allowed."""
        with self._lock:
            for pool in self.all:
                pool.close()
            self.all.clear()
