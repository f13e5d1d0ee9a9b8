"""The loaded model of the `onnx` runtime: two graphs and the embedding, shared by all sessions."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from awares_edge.bundle.store import Bundle
from awares_edge.errors import RuntimeUnavailable
from awares_edge.runtimes.base import EncodedImage, Runtime, SavedSession
from awares_edge.runtimes.devices import Device
from awares_edge.runtimes.embedding import Embedding
from awares_edge.runtimes.onnx.devices import choose
from awares_edge.runtimes.onnx.graph_checks import check_features, running
from awares_edge.runtimes.onnx.graphs import for_gpus, load_graphs
from awares_edge.runtimes.onnx.session import OnnxSession
from awares_edge.runtimes.onnx.text import TextGraph
from awares_edge.runtimes.options import choose_context
from awares_edge.runtimes.threads import choose_threads
from awares_edge.vision.geometry import Grid
from awares_edge.vision.patches import Patches
from awares_edge.vision.windows import attention_windows, vision_rotary


class OnnxRuntime(Runtime):
    """An ONNX bundle in onnxruntime.

    Safe to share between threads: graphs hold no state, each session has a cache and an io binding
    of its own.
    """

    name: ClassVar[str] = "onnx"

    def __init__(
        self, bundle: Bundle, device: Device, threads: int, context: int, prepacked: bool = True
    ) -> None:
        manifest = bundle.manifest
        self.precision = manifest.precision
        self.device = str(device)
        self.vocabulary = manifest.model.vocabulary
        self.hidden: int = manifest.model.hidden_size
        self.context = context
        self.saving = f"onnxruntime {ort.__version__}"
        embedding = Embedding.open(bundle)
        graphs = load_graphs(bundle, device, threads, prepacked=prepacked)
        self._vision = graphs["vision"]
        self._text = TextGraph(graphs["text"], embedding, manifest.model, device)
        dtype = self._text.dtype
        wanted = {node.name for node in self._vision.get_inputs()}

        @lru_cache(maxsize=16)
        def tables(grid: Grid) -> dict[str, NDArray[Any]]:
            return _grid_tables(grid, bundle, dtype, wanted)

        self._tables = tables

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        device: str | None = None,
        threads: int | None = None,
        context: int | None = None,
        prepacked: bool = True,
    ) -> OnnxRuntime:
        """Load a bundle's graphs.

        Args:
            device: "cpu", "cuda", "cuda:1", "tensorrt", ...; None for CUDA where it starts and the
                bundle has graphs for it, else the CPU.
            threads: CPU threads of one call; None for one for each core that this process may use.
            context: most KV cells of a session; None for what the checkpoint declares.
            prepacked: keep a quantized bundle's weights, as packed for this CPU, in the user's
                cache folder and map them into memory.

        Raises:
            BundleError: the graphs cannot be loaded.
            InputError: no such device, or numbers out of range.
            RuntimeUnavailable: the installed onnxruntime, or the bundle, cannot use the device.
        """
        context = choose_context(context, bundle.manifest.model.context)
        place = choose("cpu" if device is None and not for_gpus(bundle) else device)
        if not (place.on_cpu or for_gpus(bundle)):
            raise RuntimeUnavailable(
                f"a bundle of precision {bundle.manifest.precision} computes only on the CPU: "
                f"export the checkpoint at fp16 or int4-fp16 for {place}"
            )
        return cls(bundle, place, choose_threads(threads), context, prepacked)

    def encode_image(self, patches: Patches) -> EncodedImage:
        feed = {"pixel_values": patches.pixels, **self._tables(patches.grid)}
        with running("vision"):
            features = self._vision.run(["image_features"], feed)[0]
        check_features(features, patches.grid.tokens, self.hidden)
        return EncodedImage(features, patches.grid)

    def _open(self, context: int) -> OnnxSession:
        return OnnxSession(self._text, context, self._text.new_cache(context))

    def _restore(self, saved: SavedSession, context: int) -> OnnxSession:
        cache = self._text.new_cache(context)
        cache.fill(saved)
        return OnnxSession(self._text, context, cache, saved.mark)

    def close(self) -> None:
        # onnxruntime frees a graph's memory with its last reference.
        del self._vision, self._text
        self._tables.cache_clear()


def _grid_tables(
    grid: Grid, bundle: Bundle, dtype: np.dtype[Any], wanted: set[str]
) -> dict[str, NDArray[Any]]:
    """Inputs of the vision graph that depend only on the grid."""
    vision = bundle.manifest.model.vision
    windows = attention_windows(grid, window_size=vision.window_size, patch_size=vision.patch_size)
    cos, sin = vision_rotary(grid, head_dim=vision.hidden_size // vision.heads)
    tables = {
        "patch_order": windows.patch_order,
        "token_place": windows.token_place,
        "rotary_cos": cos[windows.patch_order].astype(dtype, copy=False),
        "rotary_sin": sin[windows.patch_order].astype(dtype, copy=False),
        "window_index": windows.padded,
        "window_lengths": windows.lengths,
        "window_places": windows.unpadded,
    }
    return {name: table for name, table in tables.items() if name in wanted}
