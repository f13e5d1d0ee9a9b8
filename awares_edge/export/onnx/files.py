"""The files of an ONNX bundle.

    embedding.npy            the embedding, [vocabulary, hidden]; a tied head reads it too
    vision.data, text.data   all other matrices
    vision.onnx, text.onnx   graphs that compute in fp32
    vision.fp16.onnx, ...    at fp16 also graphs that compute in fp16, over the same matrices

fp16 on a CPU is a storage format: most CPUs have no fp16 arithmetic, so there onnxruntime widens
the matrices once, when it loads them, and computes in fp32. A GPU takes the fp16 graphs.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from awares_edge.bundle.writer import BundleWriter
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import ExportError
from awares_edge.export.onnx.graph import FP16, FP32, Graph, Precision
from awares_edge.export.onnx.text import build_text
from awares_edge.export.onnx.vision import build_vision
from awares_edge.export.onnx.weights import Location, WeightFile, Written, write_npy
from awares_edge.spec import EMBEDDING_NAME

PRECISIONS = {"fp32": FP32, "fp16": FP16}

_HEAD_DIM_STEP = 16


def write_files(
    source: Checkpoint, weights: Weights, precision: str, writer: BundleWriter, written: Written
) -> None:
    """Write graphs and weights into a bundle.

    Args:
        weights: the checkpoint's, or with an adapter merged in.
        precision: a key of `PRECISIONS`.
        written: told of the count of numbers in each piece as it is written.

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
    plain = Precision(storage, FP32)
    vision = build_vision(spec, weights, plain)
    text = build_text(spec, weights, plain, table)
    places = {graph.name: _write_weights(graph, writer, written) for graph in (vision, text)}
    _save(vision, places, writer.path("vision.onnx"))
    _save(text, places, writer.path("text.onnx"))
    if storage == FP16:
        half = Precision(FP16, FP16)
        _save(build_vision(spec, weights, half), places, writer.path("vision.fp16.onnx"))
        _save(build_text(spec, weights, half, table), places, writer.path("text.fp16.onnx"))


def _write_weights(graph: Graph, writer: BundleWriter, written: Written) -> dict[str, Location]:
    path = writer.path(f"{graph.name}.data")
    with WeightFile(path, graph.precision.storage, written) as file:
        return {weight.name: file.write(weight.parts, weight.shape) for weight in graph.stored}


def _save(graph: Graph, places: dict[str, dict[str, Location]], path: Path) -> None:
    onnx.save_model(graph.model(places[graph.name]), str(path))
