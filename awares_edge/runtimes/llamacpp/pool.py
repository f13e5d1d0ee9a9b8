"""A `llama_context` that several sessions share: one buffer of KV cells, one sequence a session.

Cells that a session has copied from another (the system prompt) are stored once. Every call that
would abort the process is checked here first; see `docs/gguf.md`.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import RuntimeUnavailable, SessionError
from awares_edge.runtimes.base import Logits
from awares_edge.runtimes.llamacpp.library import Library

SEQUENCES = 32
# Rows of logits in flight. llama.cpp sets memory aside for each (0.6 MB at Qwen's vocabulary), and
# aborts where there are fewer than sequences.
OUTPUTS = 32
_OK, _NO_SLOT = 0, 1
_TYPE_F32, _TYPE_F16 = 0, 1
_FLASH_OFF, _FLASH_AUTO = 0, -1


class NoSlot(SessionError):
    """The pool has no room for a batch; nothing was changed."""


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How to make a context.

    Attributes:
        cells: KV cells in all.
        batch: most tokens that are computed at once.
        threads: CPU threads.
        full_cache: keep the cache in float32 instead of float16.
        offload: keep the cache where the layers are (GPU).
    """

    cells: int
    batch: int
    threads: int
    full_cache: bool
    offload: bool


class Pool:
    """One context and its free sequences. Every method may be called from any thread.

    Attributes:
        cells: KV cells in all.
        sessions: how many sequences are in use.
        used: cells in use, shared ones counted once a session.
    """

    def __init__(
        self, lib: Library, model: int, vocabulary: int, width: int, o: PoolOptions
    ) -> None:
        """
        Raises:
            RuntimeUnavailable: not enough memory.
        """
        self._lib = lib
        self._vocabulary = vocabulary
        self._width = width
        self._batch = o.batch
        self._lock = threading.Lock()
        self._free = list(range(SEQUENCES))[::-1]
        self._counting = threading.Lock()
        self.used = 0
        params = lib.llama.llama_context_default_params()
        params.n_ctx = o.cells
        params.n_batch = params.n_ubatch = o.batch
        params.n_seq_max = SEQUENCES
        params.n_outputs_max = OUTPUTS
        params.n_threads = params.n_threads_batch = o.threads
        # Sequences must share one buffer, or copying part of one aborts.
        params.kv_unified = True
        params.type_k = params.type_v = _TYPE_F32 if o.full_cache else _TYPE_F16
        params.flash_attn_type = _FLASH_OFF if o.full_cache else _FLASH_AUTO
        params.offload_kqv = o.offload
        params.no_perf = True
        with lib.listening():
            self._context: Any = lib.llama.llama_init_from_model(model, params)
            if not self._context:
                raise RuntimeUnavailable(
                    f"llama.cpp cannot make a context of {o.cells} tokens{lib.complaint()}: use a "
                    "smaller context"
                )
        self.cells = int(lib.llama.llama_n_ctx(self._context))
        self._memory = lib.llama.llama_get_memory(self._context)

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Hold the context. Its memory is gone once it is closed: touching it crashes."""
        with self._lock:
            if not self._context:
                raise SessionError("this model is closed: load it again")
            yield

    @property
    def sessions(self) -> int:
        return SEQUENCES - len(self._free)

    def count(self, cells: int) -> None:
        """Add to the cells in use; a negative number takes away."""
        with self._counting:
            self.used += cells

    def acquire(self) -> int | None:
        """An empty sequence, or None where all are in use."""
        with self._lock:
            return self._free.pop() if self._free else None

    def release(self, sequence: int) -> None:
        """Forget a sequence and take it back."""
        with self._open():
            self._lib.llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            self._free.append(sequence)

    def copy(self, source: int, target: int) -> None:
        """Let the empty sequence `target` share all cells of `source`."""
        with self._open():
            self._lib.llama.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def cut(self, sequence: int, position: int) -> None:
        """Forget a sequence's cells from a position on."""
        with self._open():
            done = self._lib.llama.llama_memory_seq_rm(self._memory, sequence, position, -1)
        if not done:
            raise SessionError("llama.cpp could not rewind its cache: open another session")

    def tokens(self, sequence: int, ids: NDArray[np.int32], position: int, outputs: int) -> Logits:
        """Append at most `batch` tokens from a position on.

        Args:
            ids: int32 [n], within the vocabulary: llama.cpp aborts the process on others.
            outputs: for how many of the last ones logits are wanted.

        Returns:
            float32 [outputs, vocabulary].

        Raises:
            NoSlot: no room; nothing was changed.
            SessionError: llama.cpp failed.
        """
        positions = np.arange(position, position + ids.size, dtype=np.int32)
        return self._decode(sequence, ids.size, outputs, positions, ids=ids)

    def embeddings(
        self,
        sequence: int,
        features: NDArray[np.float32],
        positions: NDArray[np.int32],
        outputs: int,
    ) -> Logits:
        """Append at most `batch` visual tokens.

        Args:
            features: float32 [n, width].
            positions: int32 [3, n], (t, h, w) of each.
            outputs, returns, raises: see `tokens`.
        """
        count = len(features)
        if features.shape != (count, self._width) or positions.shape != (3, count):
            raise SessionError(
                f"features of shape {list(features.shape)} are not of this model, which has "
                f"{self._width} numbers a token: encode the picture with this runtime"
            )
        # Section after section; the fourth is unused by Qwen2.5-VL.
        flat = np.zeros(4 * count, dtype=np.int32)
        flat[: 3 * count] = positions.reshape(-1)
        data = np.ascontiguousarray(features, dtype=np.float32)
        return self._decode(sequence, count, outputs, flat, features=data)

    def _decode(
        self,
        sequence: int,
        count: int,
        outputs: int,
        positions: NDArray[np.int32],
        *,
        ids: NDArray[np.int32] | None = None,
        features: NDArray[np.float32] | None = None,
    ) -> Logits:
        # Each of these makes llama.cpp abort the process.
        if not 1 <= count <= self._batch or not 0 <= outputs <= min(count, OUTPUTS):
            raise SessionError(f"a batch of {count} tokens and {outputs} rows is out of range")
        if not 0 <= sequence < SEQUENCES:
            raise SessionError(f"no sequence {sequence}")
        wanted = np.zeros(count, dtype=np.int8)
        wanted[count - outputs :] = 1
        one = np.ones(count, dtype=np.int32)
        home = ctypes.c_int32(sequence)
        homes = (ctypes.POINTER(ctypes.c_int32) * count)(*[ctypes.pointer(home)] * count)
        batch = self._lib.llama.llama_batch()
        batch.n_tokens = count
        batch.token = _pointer(ids, ctypes.c_int32)
        batch.embd = _pointer(features, ctypes.c_float)
        batch.pos = _pointer(positions, ctypes.c_int32)
        batch.n_seq_id = _pointer(one, ctypes.c_int32)
        batch.seq_id = ctypes.cast(homes, type(batch.seq_id))
        batch.logits = _pointer(wanted, ctypes.c_int8)
        with self._open():
            code = self._lib.llama.llama_decode(self._context, batch)
            if code == _OK:
                return self._logits(count, outputs)
        if code == _NO_SLOT:
            raise NoSlot
        raise SessionError(
            f"llama.cpp failed with code {code}: open another session, or set AWARES_LLAMA_LOG=1 "
            "to see why"
        )

    def _logits(self, count: int, outputs: int) -> Logits:
        rows = np.empty((outputs, self._vocabulary), dtype=np.float32)
        for row, i in enumerate(range(count - outputs, count)):
            pointer = self._lib.llama.llama_get_logits_ith(self._context, i)
            rows[row] = np.ctypeslib.as_array(pointer, (self._vocabulary,))
        return rows

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """A sequence's cells as bytes: for `restore`, only in this process and for this model."""
        with self._open():
            size = int(self._lib.llama.llama_state_seq_get_size(self._context, sequence))
            state = np.empty(size, dtype=np.uint8)
            pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
            done = self._lib.llama.llama_state_seq_get_data(self._context, pointer, size, sequence)
        if not 0 < done <= size:
            raise SessionError("llama.cpp could not save the cache: open another session")
        return state[:done]

    def restore(self, sequence: int, state: NDArray[np.uint8]) -> None:
        """Fill an empty sequence with saved cells.

        Raises:
            NoSlot: no room.
        """
        with self._open():
            pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
            done = self._lib.llama.llama_state_seq_set_data(
                self._context, pointer, state.size, sequence
            )
        if done == 0:
            raise NoSlot

    def close(self) -> None:
        """Give the memory back. Closing twice is allowed."""
        with self._lock:
            if self._context:
                self._lib.llama.llama_free(self._context)
                self._context = None


def _pointer(array: NDArray[Any] | None, kind: Any) -> Any:
    return None if array is None else array.ctypes.data_as(ctypes.POINTER(kind))
