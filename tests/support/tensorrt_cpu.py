"""The `tensorrt` runtime with onnxruntime in place of the engines: the same graphs and the same
session code, on a CPU."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from awares_edge.bundle import Bundle, BundleWriter, Manifest
from awares_edge.bundle.manifest import TOKENIZER_NAME
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.preprocessor import read_eos
from awares_edge.export.tensorrt.files import write_plan
from awares_edge.export.tensorrt.formats import NUMBER_FORMATS
from awares_edge.protocol import PROFILES
from awares_edge.protocol.tokenizer import TextTokenizer
from awares_edge.runtimes.tensorrt.plan import Plan, Range
from awares_edge.runtimes.tensorrt.runtime import TensorrtRuntime
from awares_edge.vision import Preprocessing

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def open_session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class CpuText:
    """The text graph of either form; a cache is a list of arrays."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.session = open_session(path)
        self.plan = plan
        self.calls: list[int] = []
        inputs = {node.name: node for node in self.session.get_inputs()}
        self.pasts = [node for name, node in inputs.items() if name.startswith("past")]
        self.outputs = [node.name for node in self.session.get_outputs()]

    def new_cache(self):
        # Garbage, as device memory is: what is not masked away would be seen.
        return {
            node.name: np.full(node.shape, 7.0, dtype=_DTYPES[node.type]) for node in self.pasts
        }

    def append(self, cache, inputs, start):
        results = dict(zip(self.outputs, self.session.run(None, {**inputs, **cache}), strict=True))
        count = inputs["inputs_embeds"].shape[1]
        self.calls.append(count)
        for name in cache:
            place = name.removeprefix("past_key_values.")
            if self.plan.form == "trt-kv":
                cache[name] = results[f"present.{place}"]
            else:
                cache[name][:, :, start : start + count] = results[f"new.{place}"]
        return results["logits"]

    def copy_cache(self, cache, cells):
        new = self.new_cache()
        for name, array in cache.items():
            new[name][:, :, :cells] = array[:, :, :cells]
        return new

    def free_cache(self, cache):
        cache.clear()

    def close(self):
        del self.session


class CpuVision:
    def __init__(self, path: Path) -> None:
        self.session = open_session(path)
        self.wanted = [node.name for node in self.session.get_inputs()]

    def encode(self, inputs):
        return self.session.run(None, {name: inputs[name] for name in self.wanted})[0]

    def close(self):
        del self.session


def cpu_runtime(bundle: Bundle) -> TensorrtRuntime:
    """A TensorRT bundle whose graphs run in onnxruntime."""
    plan = Plan.read(bundle)
    text = CpuText(bundle.path("text.onnx"), plan)
    vision = CpuVision(bundle.path("vision.onnx"))
    return TensorrtRuntime(bundle, plan, text, vision, device="cpu stand-in")


def tiny_plan(form: str, precision: str, **changes) -> Plan:
    """A plan for tiny models: cache of 192 cells, calls of at most 32 tokens."""
    numbers = NUMBER_FORMATS[precision]
    kv = form == "trt-kv"
    plan = Plan(
        target="test",
        form=form,
        compute=numbers.compute,
        weights=numbers.weights,
        tensorrt=("10.15", "11.4") if kv else ("10.3", "10.14"),
        rtx=False,
        capabilities=(87,),
        cache_length=192,
        prefill=Range(1, 16, 32),
        decode_profile=True,
        kept=4,
        patches=Range(4, 64, 512),
        windows=32,
        merge_size=2,
    )
    return replace(plan, **changes)


def write_bundle(target: Path, source: Checkpoint, form: str, precision: str, **changes) -> Bundle:
    """A TensorRT bundle of a tiny checkpoint, by plan instead of by target."""
    with BundleWriter(target) as writer:
        shutil.copyfile(source.root / TOKENIZER_NAME, writer.path(TOKENIZER_NAME))
        plan = tiny_plan(form, precision, **changes)
        write_plan(source.spec, source, plan, writer, lambda _: None)
        tokenizer = TextTokenizer.from_file(source.root / TOKENIZER_NAME)
        manifest = Manifest(
            runtime="tensorrt",
            precision=precision,
            model=source.spec,
            protocol=PROFILES["paper"],
            preprocessing=Preprocessing(),
            tokens=tokenizer.special_tokens(read_eos(source.root)),
            files={},
        )
        writer.commit(manifest)
    return Bundle.open(target)
