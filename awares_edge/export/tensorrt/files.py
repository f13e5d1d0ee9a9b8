"""The files of a TensorRT bundle.

    embedding.npy          the embedding, [vocabulary, hidden], fp16 (fp32 at fp32)
    vision.onnx, .data     the vision tower
    text.onnx, .data       the language model
    tensorrt-plan.json     what `awares-edge build-engine` builds from them on the target

Engines are no part of a bundle: they belong to one TensorRT version on one kind of GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from awares_edge.bundle.store import BundleWriter
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import ExportError
from awares_edge.export.onnx.weights import Written, write_npy
from awares_edge.export.tensorrt.formats import (
    FORMS,
    NUMBER_FORMATS,
    NumberFormat,
    form_for,
)
from awares_edge.export.tensorrt.graph import embedding_dtype
from awares_edge.export.tensorrt.lint import require_clean
from awares_edge.export.tensorrt.memory import check_fit
from awares_edge.export.tensorrt.ranges import read_ranges
from awares_edge.export.tensorrt.targets import GIB, TARGETS, check_precision, get_target
from awares_edge.export.tensorrt.text import build_text
from awares_edge.export.tensorrt.vision import build_vision
from awares_edge.export.tensorrt.weights import write_weights
from awares_edge.protocol.profiles import ProtocolProfile
from awares_edge.runtimes.tensorrt.plan import PLAN_NAME, Plan, Range
from awares_edge.spec import EMBEDDING_NAME, ModelSpec

PRECISIONS = NUMBER_FORMATS

_KEPT = 16


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What `export_checkpoint(..., options=...)` takes for this format.

    Attributes:
        target: name of the device.
        cache_length: KV cells of a session; None for the target's default.
        memory_gib: of this very device, where it has more than the smallest of its family.
        ranges: file of `measure_ranges`, for formats that quantize activations.
    """

    target: str
    cache_length: int | None = None
    memory_gib: float | None = None
    ranges: str | Path | None = None

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> TargetOptions:
        """
        Raises:
            ExportError: no target, or numbers out of range.
        """
        if not options.get("target"):
            raise ExportError(f"say which device it is for: --target {', '.join(TARGETS)}")
        found = cls(**options)
        if found.cache_length is not None and not 64 <= found.cache_length <= 1 << 20:
            raise ExportError(
                f"a cache of {found.cache_length} cells is not within 64 and {1 << 20}"
            )
        if found.memory_gib is not None and not 1 <= found.memory_gib <= 4096:
            raise ExportError(f"{found.memory_gib:g} GiB is no device's memory")
        return found


def make_plan(spec: ModelSpec, precision: str, options: TargetOptions) -> Plan:
    """What to build for a device; refused before anything is written.

    Raises:
        ExportError: the device does not take the precision, or its memory does not hold the model.
    """
    target = get_target(options.target)
    check_precision(target, precision)
    numbers = NUMBER_FORMATS[precision]
    vision = spec.vision
    cells = min(options.cache_length or target.cache_length, spec.context)
    tokens = target.max_pixels // (vision.patch_size * vision.merge_size) ** 2
    unit = vision.merge_size**2
    prefill = min(target.prefill, cells)
    plan = Plan(
        target=target.name,
        compute=numbers.compute,
        weights=numbers.weights,
        activations=numbers.activations,
        tensorrt=target.tensorrt,
        rtx=target.rtx,
        capabilities=target.capabilities,
        cache_length=cells,
        prefill=Range(1, max(1, prefill // 2), prefill),
        decode_profile=target.decode_profile,
        kept=_KEPT,
        patches=Range(unit, max(unit, tokens // 4 * unit), tokens * unit),
        # Two tokens high or more; a picture of one row would need twice as many.
        windows=tokens // 8 + 8,
        merge_size=vision.merge_size,
    )
    memory = None if options.memory_gib is None else int(options.memory_gib * GIB)
    return replace(plan, memory=asdict(check_fit(spec, plan, target, memory)))


def limit_profile(
    profile: ProtocolProfile, spec: ModelSpec, options: Mapping[str, Any]
) -> ProtocolProfile:
    """The protocol with pictures no larger than the target's engine takes."""
    target = get_target(TargetOptions.read(options).target)
    pixels = (spec.vision.patch_size * spec.vision.merge_size) ** 2
    limit = target.max_pixels // pixels * pixels
    if profile.max_pixels <= limit:
        return profile
    return replace(profile, max_pixels=limit, min_pixels=min(profile.min_pixels, limit))


def write_files(
    source: Checkpoint,
    weights: Weights,
    precision: str,
    writer: BundleWriter,
    written: Written,
    **options: Any,
) -> None:
    """Write graphs, weights and the build plan into a bundle.

    Args:
        precision: a key of `PRECISIONS`.
        written: told of the count of numbers in each piece as it is written.
        options: fields of `TargetOptions`.

    Raises:
        ExportError: the target does not take the model as asked.
    """
    found = TargetOptions.read(options)
    plan = make_plan(source.spec, precision, found)
    if plan.activations == "float":
        write_plan(source.spec, weights, plan, writer, written)
        return
    if found.ranges is None:
        raise ExportError(
            f"{precision} needs the ranges of the layers' inputs, measured on your own pictures: "
            "--ranges FILE (docs/tensorrt.md says how), or take int8 or int4"
        )
    write_plan(source.spec, weights, plan, writer, written, read_ranges(Path(found.ranges)))


def write_plan(
    spec: ModelSpec,
    weights: Weights,
    plan: Plan,
    writer: BundleWriter,
    written: Written,
    ranges: Mapping[str, float] | None = None,
) -> None:
    """Write graphs, weights and the plan into a bundle.

    Args:
        written: told of the count of numbers in each piece as it is written.
        ranges: of the linear layers' inputs, where the plan quantizes activations.

    Raises:
        ExportError: a graph does not pass the lint for the plan's TensorRT versions.
    """
    numbers = NumberFormat("plan", plan.compute, plan.weights, plan.activations)
    dtype = numbers.precision.compute
    table = write_npy(
        writer.path(EMBEDDING_NAME), weights.tensor(EMBEDDING), embedding_dtype(dtype), written
    )
    for graph in (
        build_vision(spec, weights, numbers, FORMS["trt-legacy"]),
        build_text(
            *(spec, weights, numbers, form_for("trt-legacy", numbers)),
            *(table, plan.cache_length, ranges),
        ),
    ):
        path = writer.path(f"{graph.name}.onnx")
        places = write_weights(graph, path.with_suffix(".data"), written)
        model = graph.model(places)
        for version in plan.tensorrt:
            require_clean(model, version, rtx=plan.rtx)
        onnx.save_model(model, str(path))
    writer.path(PLAN_NAME).write_text(plan.to_json(), encoding="utf-8")
