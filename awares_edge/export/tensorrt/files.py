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

from awares_edge.bundle.writer import BundleWriter
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import ExportError
from awares_edge.export.graph.text import build_text
from awares_edge.export.graph.vision import build_vision
from awares_edge.export.graph.weights import Written, write_npy
from awares_edge.export.tensorrt.dialect import TensorrtBuilder, TensorrtText, TensorrtVision
from awares_edge.export.tensorrt.formats import NUMBER_FORMATS, NumberFormat
from awares_edge.export.tensorrt.lint import require_clean
from awares_edge.export.tensorrt.memory import check_fit
from awares_edge.export.tensorrt.ranges import read_ranges
from awares_edge.export.tensorrt.targets import TARGETS, Target, check_precision, get_target
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
        ranges: file of input ranges, for precisions that quantize activations.
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
            raise ExportError(f"name the target device: one of {', '.join(TARGETS)}")
        found = cls(**options)
        if found.cache_length is not None and not 64 <= found.cache_length <= 1 << 20:
            raise ExportError(
                f"the cache must have between 64 and {1 << 20} cells, not {found.cache_length}"
            )
        if found.memory_gib is not None and not 1 <= found.memory_gib <= 4096:
            raise ExportError(
                f"the device's memory must be between 1 and 4096 GiB, not {found.memory_gib:g}"
            )
        return found

    @property
    def device(self) -> Target:
        """The target, with this very device's memory.

        Raises:
            ExportError: there is no target of this name.
        """
        found = get_target(self.target)
        return found if self.memory_gib is None else replace(found, gib=self.memory_gib)


def make_plan(spec: ModelSpec, precision: str, options: TargetOptions) -> Plan:
    """What to build for a device; refused before anything is written.

    Raises:
        ExportError: the device does not take the precision, or its memory does not hold the model.
    """
    plan = draft_plan(spec, precision, options)
    return replace(plan, memory=asdict(check_fit(spec, plan, options.device)))


def draft_plan(spec: ModelSpec, precision: str, options: TargetOptions) -> Plan:
    """What to build for a device, whether or not it fits into its memory.

    Raises:
        ExportError: the device does not take the precision.
    """
    target = options.device
    check_precision(target, precision)
    numbers = NUMBER_FORMATS[precision]
    vision = spec.vision
    cells = min(options.cache_length or target.cache_length, spec.context)
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


def limit_profile(
    profile: ProtocolProfile, spec: ModelSpec, options: Mapping[str, Any]
) -> ProtocolProfile:
    """The protocol with pictures no larger than the target's engine takes."""
    target = TargetOptions.read(options).device
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
        written: called with the count of numbers in each piece after it is written.
        options: fields of `TargetOptions`.

    Raises:
        ExportError: the target does not take the model as asked.
    """
    found = TargetOptions.read(options)
    plan = make_plan(source.spec, precision, found)
    if plan.activations == "float":
        if found.ranges is not None:
            raise ExportError(f"{precision} uses no measured ranges: leave them out")
        write_plan(source.spec, weights, plan, writer, written)
        return
    if found.ranges is None:
        raise ExportError(
            f"{precision} needs a file of input ranges, measured on pictures of the task "
            "(docs/tensorrt.md says how); int8 and int4 need none"
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
        written: called with the count of numbers in each piece after it is written.
        ranges: of the linear layers' inputs, where the plan quantizes activations.

    Raises:
        ExportError: a graph does not pass the lint, or an input range is missing.
    """
    numbers = NumberFormat.of(plan)
    path = writer.path(EMBEDDING_NAME)
    table = write_npy(path, weights.tensor(EMBEDDING), numbers.embedding, written)
    vision = TensorrtBuilder("vision", weights, numbers)
    build_vision(vision, spec, TensorrtVision(vision, spec))
    text = TensorrtBuilder("text", weights, numbers, ranges)
    build_text(text, spec, TensorrtText(text, spec, plan.cache_length))
    for graph in (vision, text):
        path = writer.path(f"{graph.name}.onnx")
        places = graph.write_weights(path.with_suffix(".data"), written, {EMBEDDING: table})
        model = graph.model(places)
        require_clean(model)
        onnx.save_model(model, str(path))
    writer.path(PLAN_NAME).write_text(plan.to_json(), encoding="utf-8")
