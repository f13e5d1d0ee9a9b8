"""The language model's graph, shared by all sessions of a loaded model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from awares_edge.runtimes.base import Logits, Piece
from awares_edge.runtimes.devices import Device
from awares_edge.runtimes.embedding import Embedding
from awares_edge.runtimes.onnx.cache import Cache, CacheShape
from awares_edge.runtimes.onnx.graph_checks import running
from awares_edge.runtimes.onnx.rotary import TextRotary
from awares_edge.spec import ModelSpec

_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
}


class TextGraph:
    """Appends tokens to caches. Holds no state of a conversation: safe to share between threads.

    Attributes:
        vocabulary: length of a row of logits.
        dtype: of keys, values and rotary tables.
    """

    def __init__(
        self, session: ort.InferenceSession, embedding: Embedding, spec: ModelSpec, device: Device
    ) -> None:
        inputs = {node.name: node.type for node in session.get_inputs()}
        self.vocabulary = spec.vocabulary
        self.dtype = _DTYPES[inputs["rotary_cos"]]
        self._session = session
        self._embedding = embedding
        self._rotary = TextRotary(spec)
        self._shape = CacheShape.of(spec, self.dtype, device)

    def new_cache(self, context: int) -> Cache:
        """An empty cache that can grow to `context` cells."""
        return Cache(self._session, self._shape, context)

    def append(self, cache: Cache, piece: Piece) -> Logits:
        """Append a piece to a cache; float32 [piece.keep, vocabulary] of its last tokens."""
        start, stop, count = piece.start, piece.stop, piece.cells
        cache.reserve(stop, start)
        self._rotary.fill(cache.cos[start:stop], cache.sin[start:stop], piece.positions)
        binding = cache.binding
        logits = np.empty((piece.keep, self.vocabulary), dtype=np.float32)
        inputs = {
            "inputs_embeds": self._embedding.of(piece),
            "seqlens_k": np.array([stop - 1], dtype=np.int32),
            "total_sequence_length": np.array(stop, dtype=np.int32),
            "logits_index": np.arange(count - piece.keep, count, dtype=np.int64),
        }
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(logits))
        cache.bind_rotary(stop)
        with running("text"):
            self._session.run_with_iobinding(binding)
        return logits
