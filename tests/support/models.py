"""Loaders of every runtime for the conformance suite: the same tiny random checkpoint each time."""

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


def _checkpoint(factory):
    pytest.importorskip("torch")
    from tests.support.checkpoints import make_checkpoint

    root = factory.getbasetemp() / "conformance-checkpoint"
    if not root.exists():
        make_checkpoint(root, "tied", seed=1)
    return root


@contextmanager
def _onnx(factory) -> Iterator[Loaded]:
    from awares_edge.export import export_checkpoint

    checkpoint = _checkpoint(factory)
    bundle = factory.mktemp("onnx") / "bundle"
    export_checkpoint(checkpoint, bundle, precision="fp32", profile=PROFILES["paper"])
    with awares_edge.load(bundle, threads=1, context=4096) as model:
        yield Loaded(model, 2e-5)


@contextmanager
def _onnx_int4(factory) -> Iterator[Loaded]:
    """Inputs of 4-bit products are rounded to int8 row by row, so a token's numbers do not depend
    on the tokens it shares a call with. Float noise before a rounding may still move it by a step,
    which was measured to move logits by up to 0.5% of their deviation. int8 has one scale for all
    rows of a call, so there two ways to the same cache differ by 6% of the logits' deviation: it is
    tested in test_onnx_precisions.py."""
    from awares_edge.export import export_checkpoint

    bundle = factory.mktemp("onnx-int4") / "bundle"
    profile = PROFILES["paper"]
    export_checkpoint(_checkpoint(factory), bundle, precision="int4", profile=profile)
    with awares_edge.load(bundle, threads=1, context=4096) as model:
        yield Loaded(model, 5e-4, rounding=1e-2)


@contextmanager
def _torch(factory) -> Iterator[Loaded]:
    checkpoint = _checkpoint(factory)
    with awares_edge.load(checkpoint, runtime="torch", threads=1, context=4096) as model:
        yield Loaded(model, 2e-5)


@contextmanager
def _llamacpp(factory) -> Iterator[Loaded]:
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (extra gguf)")
    pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    from awares_edge.export import export_checkpoint

    # llama.cpp holds full-attention blocks at even steps only, so a sibling of the others' model.
    pytest.importorskip("torch")
    from tests.support.checkpoints import SHAPES, make_checkpoint

    root = factory.mktemp("gguf")
    shape = replace(SHAPES["tied"], full_attention=(1, 3))
    checkpoint = make_checkpoint(root / "checkpoint", shape, seed=1)
    profile = PROFILES["paper"]
    export_checkpoint(checkpoint, root / "b", format="gguf", precision="f32", profile=profile)
    with awares_edge.load(root / "b", threads=1, context=4096) as model:
        yield Loaded(model, 5e-5)


@contextmanager
def _tensorrt(factory) -> Iterator[Loaded]:
    """The runtime and its graphs, over a stand-in for TensorRT and CUDA that runs on a CPU."""
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
    "tensorrt": _tensorrt,
    "torch": _torch,
    "llamacpp": _llamacpp,
}
