"""The loaded model of the `tensorrt` runtime: two engines and the embedding."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from awares_edge.bundle.store import Bundle
from awares_edge.errors import InputError
from awares_edge.runtimes.base import (
    Capabilities,
    EncodedImage,
    Logits,
    Runtime,
    Segment,
)
from awares_edge.runtimes.embedding import Embedding
from awares_edge.runtimes.tensorrt.graphs import TextGraph, VisionGraph
from awares_edge.runtimes.tensorrt.plan import Plan
from awares_edge.runtimes.tensorrt.session import TensorrtSession
from awares_edge.runtimes.tensorrt.steps import cut, text_inputs
from awares_edge.runtimes.tensorrt.tables import vision_tables
from awares_edge.vision.geometry import Grid
from awares_edge.vision.patches import Patches


class TensorrtRuntime(Runtime):
    """A TensorRT bundle and its engines.

    Safe to share between threads; one GPU call runs at a time, under a lock, because an execution
    context and its activation memory serve one call.
    """

    name: ClassVar[str] = "tensorrt"
    capabilities: ClassVar[Capabilities] = Capabilities(concurrent=False)

    def __init__(
        self,
        bundle: Bundle,
        plan: Plan,
        text: TextGraph,
        vision: VisionGraph,
        *,
        device: str,
        context: int | None = None,
    ) -> None:
        """
        Args:
            text, vision: the engines; `open_engines` makes them on a GPU.
            context: most KV cells of a session; None for the plan's cache length.

        Raises:
            InputError: the context is longer than the engine's cache.
        """
        manifest = bundle.manifest
        if context is not None and not 1 <= context <= plan.cache_length:
            raise InputError(
                f"a context of {context} is not within 1 and the engine's cache of "
                f"{plan.cache_length} cells: export with --cache-length {context}"
            )
        self.precision = manifest.precision
        self.device = device
        self.vocabulary = manifest.model.vocabulary
        self.context = context or min(plan.cache_length, manifest.model.context)
        self.plan = plan
        self._embedding = Embedding.open(bundle)
        self._text = text
        self._vision = vision
        self._lock = threading.Lock()

        @lru_cache(maxsize=16)
        def tables(grid: Grid) -> dict[str, NDArray[Any]]:
            return vision_tables(grid, manifest.model.vision)

        self._tables = tables

    def encode_image(self, patches: Patches) -> EncodedImage:
        grid, limits = patches.grid, self.plan.patches
        if not limits.min <= grid.patches <= limits.max:
            raise InputError(
                f"a picture of {grid.patches} patches is outside the engine's {limits.min} to "
                f"{limits.max}: keep the bundle's own protocol, or export for a larger --target"
            )
        tables = self._tables(grid)
        if len(tables["window_index"]) > self.plan.windows:
            raise InputError(
                f"a picture of {grid.rows} x {grid.columns} tokens has more attention windows than "
                f"the engine's {self.plan.windows}: crop it to a less extreme shape"
            )
        with self._lock:
            features = self._vision.encode({"pixel_values": patches.pixels, **tables})
        return EncodedImage(features, grid)

    def open_session(self, context: int | None = None) -> TensorrtSession:
        if context is not None and not 1 <= context <= self.context:
            raise InputError(f"a context of {context} is not within 1 and {self.context}")
        with self._lock:
            cache = self._text.new_cache()
        return TensorrtSession(self, context or self.context, cache)

    def close(self) -> None:
        with self._lock:
            self._text.close()
            self._vision.close()
        self._tables.cache_clear()

    def append(
        self,
        cache: Any,
        segments: Sequence[Segment],
        positions: NDArray[np.int64],
        start: int,
        keep: int,
    ) -> Logits:
        """Append tokens at cells from `start`; float32 [keep, vocabulary] of the last ones."""
        embeds = self._embedding.of(segments, positions.shape[1])
        rows = []
        plan = self.plan
        for piece in cut(len(embeds), keep, longest=plan.prefill.max, kept=plan.kept):
            inputs = text_inputs(
                embeds[piece.start : piece.stop],
                positions[:, piece.start : piece.stop],
                form=plan.form,
                start=start + piece.start,
                keep=piece.keep,
                cache_length=plan.cache_length,
            )
            with self._lock:
                logits = self._text.append(cache, inputs, start + piece.start)
            if piece.keep:
                rows.append(logits)
        return np.concatenate(rows)

    def copy_cache(self, cache: Any, cells: int) -> Any:
        with self._lock:
            return self._text.copy_cache(cache, cells)

    def free_cache(self, cache: Any) -> None:
        with self._lock:
            self._text.free_cache(cache)
