"""The files of an ONNX bundle.

    embedding.npy            the embedding, [vocabulary, hidden]; a tied float head reads it too
    vision.data, text.data   all other matrices
    vision.onnx, text.onnx   graphs that compute in fp32
    vision.fp16.onnx, ...    at fp16 and int4-fp16 also graphs that compute in fp16, over the same
                             matrices

fp16 on a CPU is a storage format: most CPUs have no fp16 arithmetic, so there onnxruntime widens
the matrices once, when it loads them, and computes in fp32. A GPU takes the fp16 graphs.

int8, int4, int8+int4 and w8a8 are for CPUs. Where the language model is quantized, the embedding is
stored in fp16, and the head has its own weights, even where the checkpoint ties it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from awares_edge.bundle.writer import BundleWriter
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.names import EMBEDDING, PATCH_EMBEDDING
from awares_edge.checkpoint.preprocessor import read_preprocessing
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import ExportError
from awares_edge.export.base import RANGES, RangeMethod
from awares_edge.export.graph.text import build_text
from awares_edge.export.graph.vision import build_vision
from awares_edge.export.graph.weights import FP16, FP32, Matrix, Written, write_npy
from awares_edge.export.measured import Measured, layer_names
from awares_edge.export.onnx.budget import Budget, Mix, fit_mix
from awares_edge.export.onnx.dialect import OnnxBuilder, OnnxText, OnnxVision
from awares_edge.export.onnx.formats import BlockInt4
from awares_edge.export.onnx.gptq import require_gptq
from awares_edge.export.onnx.precisions import Formats
from awares_edge.export.ranges import matrix_range
from awares_edge.export.smoothing import Smoothed, smooth
from awares_edge.export.smoothing.sites import site_matrices
from awares_edge.export.times import Times
from awares_edge.spec import EMBEDDING_NAME, ModelSpec, half_graph

FEW_TOKENS = 2
"""Most tokens of a call that 4-bit weights compute faster than int8 ones."""
_HEAD_DIM_STEP = 16


def write_files(
    source: Checkpoint,
    weights: Weights,
    precision: str,
    writer: BundleWriter,
    written: Written,
    *,
    measured: Measured | None = None,
    keep: Sequence[str] = (),
    block: int = 64,
    seven_bit: bool = False,
    budget: Budget | None = None,
    ranges: RangeMethod = RANGES,
) -> Mapping[str, str]:
    """Write graphs and weights into a bundle.

    Args:
        weights: the checkpoint's, or with an adapter merged in.
        precision: a key of `PRECISIONS`.
        written: called with the count of numbers in each piece after it is written.
        measured: statistics of the inputs, to smooth outliers with; None for none.
        keep, block, seven_bit: see `Formats`.
        budget: at precision "mixed", what the mix may cost.
        ranges: of inputs, at precision "w8a8", which needs `measured`.

    Returns:
        facts for the bundle's provenance.

    Raises:
        ExportError: the runtime cannot compute a model of this shape; no such layer, format or
            block.
    """
    spec = source.spec
    if spec.head_dim % _HEAD_DIM_STEP:
        raise ExportError(
            f"onnxruntime's attention needs a head_dim that is a multiple of {_HEAD_DIM_STEP}, "
            f"this checkpoint has {spec.head_dim}"
        )
    formats = Formats(precision, keep, block, seven_bit, depth=spec.vision.depth)
    facts: dict[str, str] = {}
    embedding = weights.tensor(EMBEDDING)
    if measured is not None:
        smoothed, facts = _calibrate(spec, weights, formats, measured, budget)
        weights = smoothed.weights
        if precision == "w8a8":
            pixels = read_preprocessing(source.root)
            formats.over(lambda name: matrix_range(name, smoothed.measured, ranges, pixels))
            facts["ranges"] = ranges
    graphs = _graphs(spec, weights, formats, FP32)
    table = formats.embedding()
    formats.check_keep()
    places = {EMBEDDING: write_npy(writer.path(EMBEDDING_NAME), embedding, table, written)}
    for graph in graphs:
        places = graph.write_weights(writer.path(f"{graph.name}.data"), written, places)
        onnx.save_model(graph.model(places), str(writer.path(f"{graph.name}.onnx")))
    if formats.precision.gpu:
        for graph in _graphs(spec, weights, formats, FP16):
            onnx.save_model(graph.model(places), str(writer.path(half_graph(graph.name))))
    return facts


def _calibrate(
    spec: ModelSpec,
    weights: Weights,
    formats: Formats,
    measured: Measured,
    budget: Budget | None,
) -> tuple[Smoothed, dict[str, str]]:
    """Choose formats by what was measured; the smoothed model, and facts for the provenance."""
    mix = None
    if budget is not None:
        mix = fit_mix(spec, weights, formats, measured, budget)
        formats.use(mix.formats)
    smoothed = smooth(weights, spec, measured, formats.every)
    # A mix was chosen by what each layer loses.
    kept = smoothed.beyond() if mix is None else []
    if kept:
        # A tied head in fp16 reads the embedding's file, which no scale is folded into.
        formats.spare(kept)
        smoothed = smooth(weights, spec, measured, formats.every)
    formats.compensate(smoothed.measured.hessians)
    facts = {**smoothed.facts(kept), **_gptq_facts(spec, weights, formats)}
    if "gptq" in facts:
        require_gptq()
    if budget is not None and mix is not None:
        facts |= _describe(mix, budget.times)
    return smoothed, facts


def _describe(mix: Mix, times: Times | None) -> dict[str, str]:
    """Facts about a mix for the provenance."""
    counts = Counter(mix.formats.values()).most_common()
    facts = {"mix": ", ".join(f"{count} {kind}" for kind, count in counts)}
    if mix.ms is not None and times is not None:
        facts["estimated_ms"] = f"{mix.ms:.1f}"
        facts["estimated_for"] = f"{times.cpu}, threads: {times.threads}"
    return facts


def _gptq_facts(spec: ModelSpec, weights: Weights, formats: Formats) -> Mapping[str, str]:
    """How many 4-bit matrices GPTQ rounds, and which ones it does not."""
    rounded: list[str] = []
    alone: list[str] = []
    for name in (PATCH_EMBEDDING, *site_matrices(spec)):
        shape = Matrix.of(weights, *name.split("+")).shape
        blocks = [one for one in formats.every(name, shape) if isinstance(one, BlockInt4)]
        if blocks:
            (rounded if blocks[0].hessian else alone).append(name)
    if not rounded:
        return {}
    facts = {"gptq": f"{len(rounded)} of {len(rounded) + len(alone)} 4-bit matrices"}
    if alone:
        layers = (layer for name in alone for layer in layer_names(name))
        facts["without_gptq"] = ", ".join(
            dict.fromkeys(re.sub(r"\.\d+\.", ".*.", layer) for layer in layers)
        )
    return facts


def _graphs(
    spec: ModelSpec, weights: Weights, formats: Formats, compute: np.dtype[np.generic]
) -> tuple[OnnxBuilder, OnnxBuilder]:
    vision = OnnxBuilder("vision", weights, compute, formats.vision)
    build_vision(vision, spec, OnnxVision(vision, spec))
    text = OnnxBuilder("text", weights, compute, formats.text)
    if formats.precision.few is None:
        build_text(text, spec, OnnxText(text, spec))
        return vision, text
    few, many = text.branch(formats.few), text.branch()
    for branch in (few, many):
        build_text(branch, spec, OnnxText(branch, spec))
    tokens = text.op("Gather", text.op("Shape", "inputs_embeds"), text.integers([0]))
    most = text.op("LessOrEqual", tokens, text.integers([FEW_TOKENS]))
    text.choose(most, few, many)
    text.outputs_of(many)
    return vision, text
