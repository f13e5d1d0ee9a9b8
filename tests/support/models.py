"""Loaders of every runtime for the conformance suite: the same tiny random checkpoint each time.

Each takes pytest's factory of temporary folders and the name of a device.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest

import awares_edge
from awares_edge.protocol import PROFILES


@dataclass
class Loaded:
    """A model and how exactly it repeats itself.

    Attributes:
        tolerance: largest difference of logits between two ways to the same cache, as a share of
            their standard deviation.
        rounding: the same for a row in which float noise moved the rounding of an input by a step;
            0 where inputs are not rounded. Such rows are the exception: fewer than half.
    """

    model: awares_edge.Model
    tolerance: float
    rounding: float = 0.0

    def assert_same(self, ours, expected):
        off = np.abs(ours - expected).max(axis=-1) / expected.std()
        assert np.max(off) <= max(self.tolerance, self.rounding)
        assert np.mean(off > self.tolerance) < 0.5 or (self.rounding and np.size(off) == 1)


# Off the CPU: TF32 products (llama.cpp at float32, torch's convolutions) have 10 bits of mantissa,
# as float16 has. The same bounds as tests/runtimes/tensorrt/test_gpu.py.
_TF32, _FP16 = 5e-3, 1e-2


def _checkpoint(factory):
    pytest.importorskip("torch")
    from tests.support.checkpoints import make_checkpoint

    root = factory.getbasetemp() / "conformance-checkpoint"
    if not root.exists():
        make_checkpoint(root, "tied", seed=1)
    return root


@contextmanager
def _onnx(factory, device) -> Iterator[Loaded]:
    from awares_edge.export import export_checkpoint

    checkpoint = _checkpoint(factory)
    bundle = factory.mktemp("onnx") / "bundle"
    # onnxruntime has the cached attention in CUDA only at float16.
    precision, tolerance = ("fp32", 2e-5) if device == "cpu" else ("fp16", _FP16)
    export_checkpoint(checkpoint, bundle, precision=precision, profile=PROFILES["paper"])
    with awares_edge.load(bundle, device=device, threads=1, context=4096) as model:
        yield Loaded(model, tolerance)


@contextmanager
def _onnx_int4(factory, device) -> Iterator[Loaded]:
    """Inputs of 4-bit products are rounded to int8 row by row, so a token's numbers do not depend
    on the tokens it shares a call with. Float noise before a rounding may still move it by a step,
    which was measured to move logits by up to 0.5% of their deviation. int8 has one scale for all
    rows of a call, so there two ways to the same cache differ by 6% of the logits' deviation: it is
    tested in test_onnx_precisions.py."""
    from awares_edge.export import export_checkpoint

    if device != "cpu":
        pytest.skip("onnxruntime's CPU kernels are what rounds inputs to int8")
    bundle = factory.mktemp("onnx-int4") / "bundle"
    profile = PROFILES["paper"]
    export_checkpoint(_checkpoint(factory), bundle, precision="int4", profile=profile)
    with awares_edge.load(bundle, threads=1, context=4096) as model:
        yield Loaded(model, 5e-4, rounding=1e-2)


@contextmanager
def _onnx_w8a8(factory, device) -> Iterator[Loaded]:
    """Inputs are rounded over fixed ranges, so a token's numbers do not depend on the tokens it
    shares a call with; as at int4, float noise may move a rounding by a step."""
    from awares_edge.checkpoint.checkpoint import Checkpoint
    from awares_edge.export import OnnxFormat, export_checkpoint
    from tests.support.measured import flat_measured

    if device != "cpu":
        pytest.skip("onnxruntime computes int8 products on CPUs")
    checkpoint, folder = _checkpoint(factory), factory.mktemp("onnx-w8a8")
    file = folder / "measured.safetensors"
    flat_measured(Checkpoint.open(checkpoint)).save(file)
    format, profile = OnnxFormat("w8a8", calibration=file), PROFILES["paper"]
    bundle = export_checkpoint(checkpoint, folder / "bundle", format=format, profile=profile)
    with awares_edge.load(bundle.root, threads=1, context=4096) as model:
        yield Loaded(model, 5e-4, rounding=1e-2)


@contextmanager
def _torch(factory, device) -> Iterator[Loaded]:
    checkpoint = _checkpoint(factory)
    options = {"runtime": "torch", "device": device, "threads": 1, "context": 4096}
    with awares_edge.load(checkpoint, **options) as model:
        yield Loaded(model, 2e-5 if device == "cpu" else _TF32)


@contextmanager
def _llamacpp(factory, device) -> Iterator[Loaded]:
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (extra gguf)")
    pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    from awares_edge.export import export_checkpoint

    # A sibling of the others' model: llama.cpp needs full-attention blocks at equal distances.
    pytest.importorskip("torch")
    from tests.support.checkpoints import SHAPES, make_checkpoint

    root = factory.mktemp("gguf")
    shape = replace(SHAPES["tied"], full_attention=(1, 3))
    checkpoint = make_checkpoint(root / "checkpoint", shape, seed=1)
    profile = PROFILES["paper"]
    export_checkpoint(checkpoint, root / "b", format="gguf", precision="f32", profile=profile)
    with awares_edge.load(root / "b", device=device, threads=1, context=4096) as model:
        yield Loaded(model, 5e-5 if device == "cpu" else _TF32)


@contextmanager
def _tensorrt(factory, device) -> Iterator[Loaded]:
    """The runtime and its graphs, over a stand-in for TensorRT and CUDA that runs on a CPU."""
    if device != "cpu":
        pytest.skip("a stand-in: test_gpu.py runs TensorRT itself")
    from awares_edge.checkpoint.checkpoint import Checkpoint
    from awares_edge.runtimes.tensorrt.plan import Range
    from tests.support.tensorrt_cpu import as_model, cpu_runtime, write_bundle

    source = Checkpoint.open(_checkpoint(factory))
    sizes = {"cache_length": 1024, "prefill": Range(1, 128, 256), "kept": 8}
    bundle = write_bundle(factory.mktemp("tensorrt") / "bundle", source, "fp32", **sizes)
    with as_model(bundle, cpu_runtime(bundle)) as model:
        yield Loaded(model, 2e-5)


LOADERS = {
    "onnx": _onnx,
    "onnx-int4": _onnx_int4,
    "onnx-w8a8": _onnx_w8a8,
    "tensorrt": _tensorrt,
    "torch": _torch,
    "llamacpp": _llamacpp,
}
