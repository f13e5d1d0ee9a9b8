"""TensorRT bundles of tiny checkpoints, and runtimes that compute them on a CPU (`tensorrt_fake`).

They compute at fp32 and fp16; onnxruntime has no bf16 on a CPU.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from awares_edge import Model
from awares_edge.bundle import Bundle, BundleWriter, Manifest
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.preprocessor import read_eos
from awares_edge.export.tensorrt.files import write_plan
from awares_edge.export.tensorrt.formats import NUMBER_FORMATS
from awares_edge.protocol import PROFILES
from awares_edge.protocol.tokenizer import TextTokenizer
from awares_edge.runtimes.base import Runtime
from awares_edge.runtimes.tensorrt import TensorrtRuntime, build_engines, load_runtime
from awares_edge.runtimes.tensorrt.device import Cuda
from awares_edge.runtimes.tensorrt.plan import Plan, Range
from awares_edge.spec import TOKENIZER_NAME
from awares_edge.vision import Preprocessing
from tests.support.tensorrt_fake import FakeCudart, fake_tensorrt


def tiny_plan(precision: str, **changes) -> Plan:
    """A plan for tiny models: cache of 192 cells, calls of at most 32 tokens."""
    numbers = NUMBER_FORMATS[precision]
    plan = Plan(
        target="test",
        compute=numbers.compute,
        weights=numbers.weights,
        activations=numbers.activations,
        tensorrt=("10.3", "10.14"),
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


def write_bundle(
    target: Path, source: Checkpoint, precision: str, measured=None, ranges="minmax", **changes
) -> Bundle:
    """A TensorRT bundle of a checkpoint; `changes` are fields of its plan."""
    with BundleWriter(target) as writer:
        shutil.copyfile(source.root / TOKENIZER_NAME, writer.path(TOKENIZER_NAME))
        plan = tiny_plan(precision, **changes)
        write_plan(source.spec, source, plan, writer, lambda _: None, measured, ranges)
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
        return writer.commit(manifest)


class Rig:
    """A bundle, "built" and loaded on the stand-in for TensorRT and CUDA, and its parts."""

    def __init__(self, bundle: Bundle, engines: Path) -> None:
        plan = Plan.read(bundle)
        self.bundle = bundle
        self.cudart = FakeCudart(plan.capabilities[0])
        trt = fake_tensorrt(self.cudart, plan.tensorrt[0])
        self.parts = {"engines": engines, "trt": trt, "cuda": Cuda(cudart=self.cudart)}
        build_engines(bundle, **self.parts)
        self.runtime = load_runtime(bundle, **self.parts)


def cpu_runtime(bundle: Bundle) -> TensorrtRuntime:
    """A TensorRT bundle whose graphs are computed by onnxruntime."""
    with TemporaryDirectory() as engines:
        return Rig(bundle, Path(engines)).runtime


def as_model(bundle: Bundle, runtime: Runtime) -> Model:
    """A bundle's model over a runtime that is loaded already."""
    manifest = bundle.manifest
    return Model(
        runtime,
        TextTokenizer.from_file(bundle.path(TOKENIZER_NAME)),
        manifest.tokens,
        manifest.protocol,
        manifest.preprocessing,
    )
