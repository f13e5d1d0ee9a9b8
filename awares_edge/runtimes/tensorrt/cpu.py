"""The graphs of a TensorRT bundle in onnxruntime, for measuring and for tests, not for speed.

They run at fp32 and fp16; onnxruntime has no bf16 on a CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from awares_edge.bundle.store import Bundle
from awares_edge.runtimes.tensorrt.plan import Plan
from awares_edge.runtimes.tensorrt.runtime import Inputs, TensorrtRuntime

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_PAST = "past_key_values."

CpuCache: TypeAlias = dict[str, NDArray[Any]]


def open_graph(path: Path) -> ort.InferenceSession:
    """A graph on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Compute quantized graphs as they are written: its own rewriting of them breaks fp8.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class CpuText:
    """The text graph; a cache is a dict of arrays."""

    def __init__(self, path: Path) -> None:
        self._session = open_graph(path)
        self._pasts = [n for n in self._session.get_inputs() if n.name.startswith(_PAST)]
        self._outputs = [node.name for node in self._session.get_outputs()]

    def new_cache(self) -> CpuCache:
        # Not zeros, so that a cell that should be masked and is not changes the result.
        return {n.name: np.full(n.shape, 7.0, dtype=_DTYPES[n.type]) for n in self._pasts}

    def append(self, cache: CpuCache, inputs: Inputs, start: int) -> NDArray[np.float32]:
        found = self._session.run(self._outputs, {**inputs, **cache})
        results = dict(zip(self._outputs, found, strict=True))
        count = inputs["inputs_embeds"].shape[1]
        for name in cache:
            new = results[f"new.{name.removeprefix(_PAST)}"]
            cache[name][:, :, start : start + count] = new
        self.look(results)
        logits: NDArray[np.float32] = results["logits"]
        return logits

    def look(self, results: dict[str, NDArray[Any]]) -> None:
        """Called with all outputs of a call; does nothing here, for subclasses that measure."""

    def copy_cache(self, cache: CpuCache, cells: int) -> CpuCache:
        new = self.new_cache()
        for name, array in cache.items():
            new[name][:, :, :cells] = array[:, :, :cells]
        return new

    def free_cache(self, cache: CpuCache) -> None:
        cache.clear()

    def close(self) -> None:
        del self._session


class CpuVision:
    """The vision graph."""

    def __init__(self, path: Path) -> None:
        self._session = open_graph(path)
        self._wanted = [node.name for node in self._session.get_inputs()]

    def encode(self, inputs: Inputs) -> NDArray[np.float32]:
        feed = {name: inputs[name] for name in self._wanted}
        features: NDArray[np.float32] = self._session.run(None, feed)[0]
        return features

    def close(self) -> None:
        del self._session


def cpu_runtime(bundle: Bundle, text: CpuText | None = None) -> TensorrtRuntime:
    """A TensorRT bundle whose graphs run in onnxruntime."""
    text = text or CpuText(bundle.path("text.onnx"))
    vision = CpuVision(bundle.path("vision.onnx"))
    return TensorrtRuntime(bundle, Plan.read(bundle), text, vision, device="cpu (onnxruntime)")
