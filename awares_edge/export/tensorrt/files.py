"""The files of a TensorRT bundle.

    embedding.npy          the embedding, [vocabulary, hidden], fp16 (fp32 at fp32)
    vision.onnx, .data     the vision tower
    text.onnx, .data       the language model
    tensorrt-plan.json     what `awares-edge build-engine` builds from them on the target

Engines are not part of a bundle: they belong to one TensorRT version on one kind of GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import onnx

from awares_edge.bundle.writer import BundleWriter
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.export.base import RANGES, RangeMethod
from awares_edge.export.graph.text import build_text
from awares_edge.export.graph.vision import build_vision
from awares_edge.export.graph.weights import Written, write_npy
from awares_edge.export.measured import Measured
from awares_edge.export.smoothing import smooth
from awares_edge.export.tensorrt.dialect import TensorrtBuilder, TensorrtText, TensorrtVision
from awares_edge.export.tensorrt.format import TensorrtFormat
from awares_edge.export.tensorrt.formats import NUMBER_FORMATS, NumberFormat, format_chooser
from awares_edge.export.tensorrt.lint import require_clean
from awares_edge.export.tensorrt.memory import check_fit
from awares_edge.runtimes.tensorrt.plan import PLAN_NAME, Plan, Range
from awares_edge.spec import EMBEDDING_NAME, ModelSpec

_KEPT = 16


def make_plan(spec: ModelSpec, format: TensorrtFormat) -> Plan:
    """What to build for a device; refused before anything is written.

    Raises:
        ExportError: the device's memory does not hold the model.
    """
    plan = draft_plan(spec, format)
    return replace(plan, memory=asdict(check_fit(spec, plan, format.device)))


def draft_plan(spec: ModelSpec, format: TensorrtFormat) -> Plan:
    """What to build for a device, whether or not it fits into its memory."""
    target = format.device
    numbers = NUMBER_FORMATS[format.precision]
    vision = spec.vision
    cells = min(format.cache_length or target.cache_length, spec.context)
    tokens = target.max_pixels // (vision.patch_size * vision.merge_size) ** 2
    unit = vision.merge_size**2
    prefill = min(target.prefill, cells)
    return Plan(
        target=target.name,
        compute=numbers.compute,
        weights=numbers.weights,
        activations=numbers.activations,
        tensorrt=target.tensorrt,
        rtx=target.rtx,
        capabilities=(target.capability,),
        cache_length=cells,
        prefill=Range(1, max(1, prefill // 2), prefill),
        decode_profile=target.decode_profile,
        kept=_KEPT,
        patches=Range(unit, max(unit, tokens // 4 * unit), tokens * unit),
        # Two tokens high or more; a picture of one row would need twice as many.
        windows=tokens // 8 + 8,
        merge_size=vision.merge_size,
    )


def write_files(
    format: TensorrtFormat,
    source: Checkpoint,
    weights: Weights,
    measured: Measured | None,
    writer: BundleWriter,
    written: Written,
) -> Mapping[str, str]:
    """Write graphs, weights and the build plan into a bundle.

    Args:
        measured: what `format.calibration` holds.
        written: called with the count of numbers in each piece after it is written.

    Returns:
        facts for the bundle's provenance.

    Raises:
        ExportError: the target does not take the model as asked.
    """
    plan = make_plan(source.spec, format)
    ranges = format.ranges or RANGES
    return write_plan(source.spec, weights, plan, writer, written, measured, ranges)


def write_plan(
    spec: ModelSpec,
    weights: Weights,
    plan: Plan,
    writer: BundleWriter,
    written: Written,
    measured: Measured | None = None,
    ranges: RangeMethod = RANGES,
) -> Mapping[str, str]:
    """Write graphs, weights and the plan into a bundle.

    Args:
        written: called with the count of numbers in each piece after it is written.
        measured: statistics of the inputs; needed where the plan quantizes activations.
        ranges: how the ranges of these inputs follow from the statistics.

    Returns:
        facts for the bundle's provenance.

    Raises:
        ExportError: a graph does not pass the lint.
    """
    numbers = NumberFormat.of(plan)
    choose, facts = format_chooser(numbers, measured), {}
    embedding = weights.tensor(EMBEDDING)
    if measured is not None:
        smoothed = smooth(weights, spec, measured, lambda *matrix: [choose(*matrix)])
        kept = smoothed.beyond()
        choose = format_chooser(numbers, smoothed.measured, kept, ranges)
        weights, facts = smoothed.weights, smoothed.facts(kept)
        if numbers.activations != "float":
            facts["ranges"] = ranges
    path = writer.path(EMBEDDING_NAME)
    table = write_npy(path, embedding, numbers.embedding, written)
    vision = TensorrtBuilder("vision", weights, numbers, choose)
    build_vision(vision, spec, TensorrtVision(vision, spec))
    text = TensorrtBuilder("text", weights, numbers, choose)
    build_text(text, spec, TensorrtText(text, spec, plan.cache_length))
    for graph in (vision, text):
        path = writer.path(f"{graph.name}.onnx")
        places = graph.write_weights(path.with_suffix(".data"), written, {EMBEDDING: table})
        model = graph.model(places)
        require_clean(model)
        onnx.save_model(model, str(path))
    writer.path(PLAN_NAME).write_text(plan.to_json(), encoding="utf-8")
    return facts
