"""The files of an ONNX bundle.

    embedding.npy            the embedding, [vocabulary, hidden]; a tied head reads it too
    vision.data, text.data   all other matrices
    vision.onnx, text.onnx   graphs that compute in fp32
    vision.fp16.onnx, ...    at fp16 also graphs that compute in fp16, over the same matrices

fp16 on a CPU is a storage format: most CPUs have no fp16 arithmetic, so there onnxruntime widens
the matrices once, when it loads them, and computes in fp32. A GPU takes the fp16 graphs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from awares_edge.bundle.writer import BundleWriter
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import ExportError
from awares_edge.export.graph.builder import FormatOf
from awares_edge.export.graph.quantize import Float
from awares_edge.export.graph.text import build_text
from awares_edge.export.graph.vision import build_vision
from awares_edge.export.graph.weights import FP16, FP32, Written, write_npy
from awares_edge.export.onnx.dialect import OnnxBuilder, OnnxText, OnnxVision
from awares_edge.spec import EMBEDDING_NAME, ModelSpec

PRECISIONS = {"fp32": FP32, "fp16": FP16}
"""Name to storage of the matrices; the first is the default."""

_HEAD_DIM_STEP = 16


def write_files(
    source: Checkpoint, weights: Weights, precision: str, writer: BundleWriter, written: Written
) -> None:
    """Write graphs and weights into a bundle.

    Args:
        weights: the checkpoint's, or with an adapter merged in.
        precision: a key of `PRECISIONS`.
        written: called with the count of numbers in each piece after it is written.

    Raises:
        ExportError: the runtime cannot compute a model of this shape.
    """
    spec = source.spec
    if spec.head_dim % _HEAD_DIM_STEP:
        raise ExportError(
            f"onnxruntime's attention needs a head_dim that is a multiple of {_HEAD_DIM_STEP}, "
            f"this checkpoint has {spec.head_dim}"
        )
    storage = PRECISIONS[precision]
    table = write_npy(writer.path(EMBEDDING_NAME), weights.tensor(EMBEDDING), storage, written)
    places = {EMBEDDING: table}
    for graph in _graphs(spec, weights, storage, FP32):
        places = graph.write_weights(writer.path(f"{graph.name}.data"), written, places)
        onnx.save_model(graph.model(places), str(writer.path(f"{graph.name}.onnx")))
    if storage == FP16:
        for graph in _graphs(spec, weights, storage, FP16):
            onnx.save_model(graph.model(places), str(writer.path(f"{graph.name}.fp16.onnx")))


def _graphs(
    spec: ModelSpec, weights: Weights, storage: np.dtype[Any], compute: np.dtype[Any]
) -> tuple[OnnxBuilder, OnnxBuilder]:
    format_of: FormatOf = lambda *_: Float(storage)  # noqa: E731 - all matrices alike
    vision = OnnxBuilder("vision", weights, compute, format_of)
    build_vision(vision, spec, OnnxVision(vision, spec))
    text = OnnxBuilder("text", weights, compute, format_of)
    build_text(text, spec, OnnxText(text, spec))
    return vision, text
