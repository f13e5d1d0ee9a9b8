"""Ranges of the linear layers' inputs, for formats that quantize activations (w8a8, fp8).

    measure_ranges(checkpoint, [("photo.jpg", "What does the small sign say?"), ...], "ranges.json")
    awares-edge export checkpoint -o bundle --format tensorrt --target rtx40 --precision fp8 \\
        --ranges ranges.json

Each question goes through the whole loop, crops included, on a CPU at fp32; the largest magnitude
that a layer's input ever had becomes its range. Take some hundred pictures and questions of the
task.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from awares_edge.bundle.manifest import Manifest
from awares_edge.bundle.store import Bundle, BundleWriter
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.lora import Adapter, merge
from awares_edge.checkpoint.names import EMBEDDING, HEAD
from awares_edge.checkpoint.preprocessor import read_eos, read_preprocessing
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.controller import AskOptions
from awares_edge.controller.model import Model
from awares_edge.errors import ExportError
from awares_edge.export.onnx.graph import FP32
from awares_edge.export.onnx.weights import write_npy
from awares_edge.export.tensorrt.formats import FORMS, NUMBER_FORMATS
from awares_edge.export.tensorrt.text import build_text
from awares_edge.export.tensorrt.vision import build_vision
from awares_edge.export.tensorrt.weights import write_weights
from awares_edge.files import whole_file
from awares_edge.protocol.profiles import ProtocolProfile, get_profile
from awares_edge.protocol.tokenizer import TextTokenizer
from awares_edge.runtimes.tensorrt.cpu import CpuText, cpu_runtime
from awares_edge.runtimes.tensorrt.plan import PLAN_NAME, Plan, Range
from awares_edge.spec import EMBEDDING_NAME, TOKENIZER_NAME, ModelSpec
from awares_edge.vision.load import ImageSource

_VERSION = 1
_TAP = "range:"


def read_ranges(path: Path) -> dict[str, float]:
    """Ranges by layer.

    Raises:
        ExportError: the file is missing or holds something else.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["version"] != _VERSION:
            raise ValueError("another version")
        ranges = {str(name): float(value) for name, value in body["ranges"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{path} is no file of measured ranges: measure them again") from error
    if not ranges or not all(math.isfinite(v) and 0 < v < 6e4 for v in ranges.values()):
        raise ExportError(f"{path} has ranges that are no magnitudes of float16 numbers")
    return ranges


def measure_ranges(
    checkpoint: str | Path,
    samples: Iterable[tuple[ImageSource, str]],
    output: str | Path,
    *,
    adapter: str | Path | None = None,
    profile: ProtocolProfile | None = None,
    max_pixels: int = 1280 * 28 * 28,
    max_new_tokens: int = 32,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Ask every question about its picture and note how large each layer's input gets.

    Args:
        samples: pictures and questions.
        output: the JSON file to write.
        adapter: LoRA folder to merge on the way, as the export will.
        profile: protocol that the checkpoint was trained with; None for "paper".
        max_pixels: of a picture: larger ones make no other ranges, only more work.
        progress: told how many questions are done.

    Returns:
        largest magnitude by layer.
    """
    source = Checkpoint.open(Path(checkpoint))
    weights = source if adapter is None else merge(source, Adapter.open(Path(adapter), source))
    with tempfile.TemporaryDirectory(prefix="awares-ranges-") as folder:
        bundle = _write_tapped(
            source, weights, Path(folder) / "bundle", profile or get_profile("paper")
        )
        text = _Watched(bundle.path("text.onnx"))
        manifest = bundle.manifest
        limited = _limited(manifest.protocol, max_pixels)
        with Model(
            cpu_runtime(bundle, text),
            TextTokenizer.from_file(bundle.path(TOKENIZER_NAME)),
            manifest.tokens,
            limited,
            manifest.preprocessing,
        ) as model:
            for done, (picture, question) in enumerate(samples, 1):
                model.ask(picture, question, AskOptions(max_new_tokens=max_new_tokens))
                if progress:
                    progress(done)
    if not text.ranges:
        raise ExportError("no samples: give pictures and questions of the task")
    body = {"version": _VERSION, "checkpoint": source.spec.name, "ranges": text.ranges}
    with whole_file(Path(output)) as file:
        file.write((json.dumps(body, indent=1, sort_keys=True) + "\n").encode())
    return text.ranges


class _Watched(CpuText):
    """A text graph with taps, and the largest value that each has shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.ranges: dict[str, float] = {}

    def look(self, results: dict[str, NDArray[Any]]) -> None:
        for name, value in results.items():
            if name.startswith(_TAP):
                layer = name.removeprefix(_TAP)
                self.ranges[layer] = max(self.ranges.get(layer, 0.0), float(value))


def add_taps(model: onnx.ModelProto, matrices: Iterable[str]) -> None:
    """Give a graph an output for the largest magnitude of each linear layer's input.

    Args:
        matrices: names of the layers' weights, "a.weight+b.weight" for joined ones.
    """
    layers = {name: name.replace(".weight", "") for name in matrices}
    for node in list(model.graph.node):
        if node.op_type != "Gemm" or node.input[1] not in layers:
            continue
        layer = layers[node.input[1]]
        size = f"abs:{layer}"
        model.graph.node.append(helper.make_node("Abs", [node.input[0]], [size]))
        model.graph.node.append(helper.make_node("ReduceMax", [size], [_TAP + layer], keepdims=0))
        model.graph.output.append(
            helper.make_tensor_value_info(_TAP + layer, TensorProto.FLOAT, [])
        )


def _write_tapped(
    source: Checkpoint, weights: Weights, folder: Path, profile: ProtocolProfile
) -> Bundle:
    """An fp32 bundle whose text graph shows its layers' inputs."""
    spec, numbers, form = source.spec, NUMBER_FORMATS["fp32"], FORMS["trt-legacy"]
    plan = _measuring_plan(spec)
    with BundleWriter(folder) as writer:
        shutil.copyfile(source.root / TOKENIZER_NAME, writer.path(TOKENIZER_NAME))
        path = writer.path(EMBEDDING_NAME)
        table = write_npy(path, weights.tensor(EMBEDDING), FP32, lambda _: None)
        for graph in (
            build_vision(spec, weights, numbers, form),
            build_text(spec, weights, numbers, form, table, plan.cache_length),
        ):
            path = writer.path(f"{graph.name}.onnx")
            model = graph.model(write_weights(graph, path.with_suffix(".data"), lambda _: None))
            if graph.name == "text":
                names = {weight.name for weight in graph.stored} - {HEAD}
                add_taps(model, names)
            onnx.save_model(model, str(path))
        writer.path(PLAN_NAME).write_text(plan.to_json(), encoding="utf-8")
        tokenizer = TextTokenizer.from_file(source.root / TOKENIZER_NAME)
        manifest = Manifest(
            runtime="tensorrt",
            precision="fp32",
            model=spec,
            protocol=profile,
            preprocessing=read_preprocessing(source.root),
            tokens=tokenizer.special_tokens(read_eos(source.root)),
            files={},
        )
        writer.commit(manifest)
    return Bundle.open(folder, verify=False)


def _measuring_plan(spec: ModelSpec) -> Plan:
    cells = min(spec.context, 8192)
    return Plan(
        target="measuring",
        compute="fp32",
        weights="float",
        tensorrt=("10.15", "11.99"),
        rtx=False,
        capabilities=(),
        cache_length=cells,
        prefill=Range(1, 1, min(cells, 1024)),
        decode_profile=False,
        kept=64,
        patches=Range(1, 1, 1 << 20),
        windows=1 << 20,
        merge_size=spec.vision.merge_size,
    )


def _limited(profile: ProtocolProfile, max_pixels: int) -> ProtocolProfile:
    limit = min(profile.max_pixels, max_pixels)
    return replace(profile, max_pixels=limit, min_pixels=min(profile.min_pixels, limit))
