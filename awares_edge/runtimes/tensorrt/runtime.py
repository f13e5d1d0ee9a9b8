"""The loaded model of the `tensorrt` runtime: two engines and the embedding."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any, ClassVar

from numpy.typing import NDArray

from awares_edge.bundle.store import Bundle
from awares_edge.errors import InputError
from awares_edge.runtimes.base import (
    EncodedImage,
    Logits,
    Piece,
    Runtime,
)
from awares_edge.runtimes.embedding import Embedding
from awares_edge.runtimes.tensorrt.graphs import TextGraph, VisionGraph
from awares_edge.runtimes.tensorrt.plan import Plan
from awares_edge.runtimes.tensorrt.session import TensorrtSession
from awares_edge.runtimes.tensorrt.steps import text_inputs
from awares_edge.runtimes.tensorrt.tables import vision_tables
from awares_edge.vision.geometry import Grid
from awares_edge.vision.patches import Patches


class TensorrtRuntime(Runtime):
    """A TensorRT bundle and its engines.

    Safe to share between threads; one GPU call runs at a time, under a lock, because an execution
    context and its activation memory serve one call.
    """

    name: ClassVar[str] = "tensorrt"

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

    def _open(self, context: int) -> TensorrtSession:
        with self._lock:
            cache = self._text.new_cache()
        return TensorrtSession(self, context, cache)

    def close(self) -> None:
        with self._lock:
            self._text.close()
            self._vision.close()
        self._tables.cache_clear()

    def append(self, cache: Any, piece: Piece) -> Logits:
        """Append a piece; float32 [piece.keep, vocabulary] of its last tokens."""
        inputs = text_inputs(
            self._embedding.of(piece),
            piece.positions,
            form=self.plan.form,
            start=piece.start,
            keep=piece.keep,
            cache_length=self.plan.cache_length,
        )
        with self._lock:
            rows = self._text.append(cache, inputs, piece.start)
        return rows[len(rows) - piece.keep :]  # the graph gives one row at least

    def copy_cache(self, cache: Any, cells: int) -> Any:
        with self._lock:
            return self._text.copy_cache(cache, cells)

    def free_cache(self, cache: Any) -> None:
        with self._lock:
            self._text.free_cache(cache)
