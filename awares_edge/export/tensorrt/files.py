"""The files of a TensorRT bundle.

    embedding.npy          the embedding, [vocabulary, hidden], fp16 (fp32 at fp32)
    vision.onnx, .data     the vision tower
    text.onnx, .data       the language model
    tensorrt-plan.json     what `awares-edge build-engine` builds from them on the target

Engines are no part of a bundle: they belong to one TensorRT version on one kind of GPU.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from awares_edge.bundle.manifest import ModelSpec
from awares_edge.bundle.store import BundleWriter
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.export.onnx.weights import Location, Written, write_npy
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.export.tensorrt.formats import FORMS, NUMBER_FORMATS, NumberFormat
from awares_edge.export.tensorrt.graph import TensorrtGraph, embedding_dtype
from awares_edge.export.tensorrt.lint import require_clean
from awares_edge.export.tensorrt.quantize import TensorrtWeightFile
from awares_edge.export.tensorrt.text import build_text
from awares_edge.export.tensorrt.vision import build_vision
from awares_edge.runtimes.tensorrt.plan import PLAN_NAME, Plan


def write_plan(
    spec: ModelSpec, weights: Weights, plan: Plan, writer: BundleWriter, written: Written
) -> None:
    """Write graphs, weights and the plan into a bundle.

    Args:
        written: told of the count of numbers in each piece as it is written.

    Raises:
        ExportError: the plan's form cannot express its number format, or a graph does not pass the
            lint for the plan's TensorRT versions.
    """
    form = FORMS[plan.form]
    numbers = NumberFormat("plan", plan.compute, plan.weights)
    dtype = numbers.precision.compute
    table = write_npy(
        writer.path("embedding.npy"), weights.tensor(EMBEDDING), embedding_dtype(dtype), written
    )
    for graph in (
        build_vision(spec, weights, numbers, form),
        build_text(spec, weights, numbers, form, table, plan.cache_length),
    ):
        path = writer.path(f"{graph.name}.onnx")
        places = write_weights(graph, path.with_suffix(".data"), written)
        model = graph.model(places)
        for version in plan.tensorrt:
            require_clean(model, version, rtx=plan.rtx)
        onnx.save_model(model, str(path))
    writer.path(PLAN_NAME).write_text(plan.to_json(), encoding="utf-8")


def write_weights(graph: TensorrtGraph, path: Path, written: Written) -> dict[str, Location]:
    """Write a graph's matrices to a file; where each of them lies."""
    places: dict[str, Location] = {}
    with TensorrtWeightFile(path, graph.precision.storage, written) as file:
        for stored in graph.stored:
            places[stored.name] = file.write(stored.parts, stored.shape)
        for weight in graph.quantized.values():
            places |= file.write_quantized(weight)
    return places


__all__ = ["NUMBER_FORMATS", "write_plan", "write_weights"]
