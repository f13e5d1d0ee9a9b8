"""The loaded model of the `onnx` runtime: two graphs and the embedding, shared by all sessions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from awares_edge.bundle.store import Bundle
from awares_edge.errors import BundleError, InputError
from awares_edge.runtimes.base import (
    EncodedImage,
    Logits,
    Runtime,
    Segment,
)
from awares_edge.runtimes.embedding import Embedding
from awares_edge.runtimes.onnx.cache import Cache, CacheShape
from awares_edge.runtimes.onnx.devices import Device
from awares_edge.runtimes.onnx.graph_checks import check_features, check_graph, running
from awares_edge.runtimes.onnx.rotary import TextRotary
from awares_edge.runtimes.onnx.session import OnnxSession
from awares_edge.runtimes.threads import check_threads
from awares_edge.vision.geometry import Grid
from awares_edge.vision.patches import Patches
from awares_edge.vision.windows import attention_windows, vision_rotary

_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
}


class OnnxRuntime(Runtime):
    """An ONNX bundle in onnxruntime.

    Safe to share between threads: graphs hold no state, each session has a cache and an io binding
    of its own.
    """

    name = "onnx"

    def __init__(self, bundle: Bundle, device: Device, threads: int | None, context: int) -> None:
        manifest = bundle.manifest
        spec = manifest.model
        self.precision = manifest.precision
        self.device = str(device)
        self.vocabulary = spec.vocabulary
        self._hidden = spec.hidden_size
        self.context = context
        self.rotary = TextRotary(spec)
        self._embedding = Embedding.open(bundle)
        self._vision = _load_graph(bundle, "vision", device, threads)
        self._text = _load_graph(bundle, "text", device, threads)
        inputs = {node.name: node.type for node in self._text.get_inputs()}
        dtype = _DTYPES[inputs["rotary_cos"]]
        self._cache_shape = CacheShape.of(spec, dtype, device)
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
        device: str = "cpu",
        threads: int | None = None,
        context: int | None = None,
    ) -> OnnxRuntime:
        """Load a bundle's graphs.

        Args:
            device: "cpu", "cuda", "cuda:1", "tensorrt", ...
            threads: CPU threads of one call; None for one per core.
            context: most KV cells of a session; None for what the checkpoint declares.

        Raises:
            BundleError: the graphs cannot be loaded.
            InputError: no such device, or numbers out of range.
            RuntimeUnavailable: the installed onnxruntime cannot use the device.
        """
        declared = bundle.manifest.model.context
        if context is not None and not 1 <= context <= declared:
            raise InputError(f"a context of {context} is not within 1 and the model's {declared}")
        check_threads(threads)
        return cls(bundle, Device.parse(device), threads, context or declared)

    def encode_image(self, patches: Patches) -> EncodedImage:
        feed = {"pixel_values": patches.pixels, **self._tables(patches.grid)}
        with running("vision"):
            features = self._vision.run(["image_features"], feed)[0]
        check_features(features, patches.grid.tokens, self._hidden)
        return EncodedImage(features, patches.grid)

    def open_session(self, context: int | None = None) -> OnnxSession:
        if context is not None and not 1 <= context <= self.context:
            raise InputError(f"a context of {context} is not within 1 and {self.context}")
        context = context or self.context
        return OnnxSession(self, context, Cache(self._text, self._cache_shape, context))

    def close(self) -> None:
        # onnxruntime frees a graph's memory with its last reference.
        del self._vision, self._text, self._embedding
        self._tables.cache_clear()

    def append(
        self, cache: Cache, segments: Sequence[Segment], count: int, total: int, keep: int
    ) -> Logits:
        """Run the text graph over `count` appended tokens, after which `total` cells are in use.

        Returns:
            float32 [keep, vocabulary] of the last `keep` tokens.
        """
        binding = cache.binding
        logits = np.empty((keep, self.vocabulary), dtype=np.float32)
        inputs = {
            "inputs_embeds": self._embedding.of(segments, count),
            "seqlens_k": np.array([total - 1], dtype=np.int32),
            "total_sequence_length": np.array(total, dtype=np.int32),
            "logits_index": np.arange(count - keep, count, dtype=np.int64),
        }
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(logits))
        cache.bind_rotary(total)
        with running("text"):
            self._text.run_with_iobinding(binding)
        return logits


def _load_graph(
    bundle: Bundle, name: str, device: Device, threads: int | None
) -> ort.InferenceSession:
    half = bundle.manifest.precision == "fp16" and not device.on_cpu
    path: Path = bundle.path(f"{name}.fp16.onnx" if half else f"{name}.onnx")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads = 1
    if threads is not None:
        options.intra_op_num_threads = threads
    # Sequence lengths differ from call to call: a memory plan per shape would only pile up.
    options.enable_mem_pattern = False
    try:
        session = ort.InferenceSession(str(path), options, providers=device.providers())
    except Exception as error:  # onnxruntime raises its own bare exceptions
        reason = str(error).splitlines()[0]
        raise BundleError(f"onnxruntime cannot load {path}: {reason}") from error
    check_graph(session, name, bundle.manifest.model)
    return session


def _grid_tables(
    grid: Grid, bundle: Bundle, dtype: np.dtype[Any], wanted: set[str]
) -> dict[str, NDArray[Any]]:
    """Inputs of the vision graph that depend on the grid alone."""
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
