"""Weight formats: rounding, packing, and graphs that compute with exactly the stored numbers."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.export.graph.builder import Builder
from awares_edge.export.graph.quantize import (
    Float,
    Fp8,
    Int4,
    Int8,
    int4_block,
    pack_int4,
    scale_rows,
    to_integers,
)
from awares_edge.export.graph.weights import FP16, FP32
from awares_edge.export.onnx.blocks import fit_int4
from awares_edge.export.onnx.dialect import OnnxBuilder
from awares_edge.export.onnx.formats import BlockInt4, DynamicInt8
from awares_edge.runtimes.base import TextSegment


@given(seed=st.integers(0, 1000), lowest=st.sampled_from([-8, -127]))
def test_rounding_is_within_half_a_step(seed, lowest):
    rows = np.random.default_rng(seed).normal(size=(4, 32)).astype(np.float32)
    highest = 7 if lowest == -8 else 127
    steps, scale = scale_rows(rows, FP32, highest)
    stored = to_integers(steps, lowest, highest)
    assert np.abs(rows - stored * scale[:, None]).max() <= scale.max() * 0.5001
    assert lowest <= stored.min()
    assert stored.max() <= highest


def test_a_row_of_zeros_stays_zero():
    steps, scale = scale_rows(np.zeros((1, 8), np.float32), FP16, 127)
    assert not steps.any()
    assert np.isfinite(scale).all()


def test_scales_are_rounded_before_they_are_used():
    rows = np.array([[1000.5, 3.0]], dtype=np.float32)
    steps, scale = scale_rows(rows, FP16, 127)
    assert scale.dtype == FP16
    assert float(steps[0, 0]) * float(scale[0]) == pytest.approx(1000.5, rel=1e-6)


def test_nibbles_are_packed_as_onnx_packs_them():
    values = np.array([[1, -2, 7], [-8, 0, 3]], dtype=np.int8)
    ours = pack_int4(values)
    theirs = helper.make_tensor("x", TensorProto.INT4, values.shape, values.reshape(-1))
    assert (
        ours.tobytes() == onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(theirs)).raw_data
    )


@pytest.mark.parametrize(("inner", "block"), [(256, 128), (192, 64), (96, 32), (80, 0)])
def test_the_largest_block_that_fits(inner, block):
    assert int4_block(inner) == block


class Rows:
    def __init__(self, array):
        self.name, self.array, self.shape = "rows", array, array.shape

    def rows(self, start, stop):
        return self.array[start:stop]


class Two:
    """A checkpoint of two layers, a and b, which a graph joins."""

    def __init__(self, weight, bias):
        half = len(weight) // 2
        self.tensors = {
            **{"a.weight": Rows(weight[:half]), "b.weight": Rows(weight[half:])},
            **{"a.bias": Rows(bias[:half]), "b.bias": Rows(bias[half:])},
        }

    def tensor(self, name):
        return self.tensors[name]


class Opset21(Builder):
    opset, ir_version = 21, 10


def rounded(blocks):
    """4-bit numbers, scaled so that the largest magnitude becomes 7: the plain way."""
    steps, scale = scale_rows(blocks, FP32, 7)
    return to_integers(steps, -8, 7) * scale[:, None]


@given(seed=st.integers(0, 1000), tails=st.sampled_from([2, 4, 50]))
def test_fitted_blocks_are_closer_than_rounded_ones(seed, tails):
    blocks = np.random.default_rng(seed).standard_t(tails, size=(40, 32)).astype(np.float32)
    values, scales = fit_int4(blocks)
    assert (values >= -8).all()
    assert (values <= 7).all()
    fitted = np.square(blocks - values * scales[:, None]).sum(axis=1)
    plain = np.square(blocks - rounded(blocks)).sum(axis=1)
    assert fitted.sum() < 0.9 * plain.sum()


@pytest.mark.parametrize("number", [0, 1e-45, 1e-38, 1, -3e38])
def test_blocks_that_are_hard_to_fit(number):
    blocks = np.zeros((2, 32), np.float32)
    blocks[1, 5] = number
    values, scales = fit_int4(blocks)
    assert np.isfinite(scales).all()
    error = np.abs(values * scales[:, None] - blocks).max()
    assert error <= max(abs(number) * 1e-6, 1e-36)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (Float(FP32), 0),
        (Float(FP16), 2**-11),
        (Int8(FP32), 0.51 / 127),
        (Int8(FP16), 0.52 / 127),
        (Fp8(FP32), 2**-4),
        (Int4(FP32, 32), 0.51 / 7),
        (Int4(FP16, 64), 0.52 / 7),
        (DynamicInt8(), 0.51 / 127),
        (DynamicInt8(64), 0.51 / 64),
        (BlockInt4(32), 1 / 7),
        (BlockInt4(64), 1 / 7),
    ],
    ids=str,
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_in_every_format(tmp_path, form, error, bias):
    """Streamed to disk, read and multiplied by onnxruntime: the stored numbers, through the nodes
    of the format, are within the format's error of the matrix."""
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(6, 64)).astype(np.float32)
    shift = rng.normal(size=6).astype(np.float32)
    builder = OnnxBuilder if isinstance(form, DynamicInt8 | BlockInt4) else Opset21
    graph = builder("g", Two(weight, shift), FP32, lambda *_: form)
    x = graph.input("x", FP32, ["n", 64])
    graph.output("y", FP32, ["n", 6], graph.linear(x, "a", "b", bias=bias))
    seen = []
    places = graph.write_weights(tmp_path / "w.data", seen.append, {})
    assert sum(seen) == weight.size
    sizes = {"a.weight+b.weight" + k: t.size for k, t in form.tensors((6, 64)).items()}
    assert {name: place.length for name, place in places.items()} == sizes
    onnx.save_model(graph.model(places), str(tmp_path / "g.onnx"))
    onnx.checker.check_model(str(tmp_path / "g.onnx"), full_check=True)
    session = ort.InferenceSession(tmp_path / "g.onnx")
    # A product with the identity matrix shows the matrix itself.
    got = session.run(None, {"x": np.eye(64, dtype=np.float32)})[0].T
    got = got - shift[:, None] if bias else got
    assert np.abs(got - weight).max() <= np.abs(weight).max() * error + 1e-6


@pytest.mark.parametrize(("precision", "tolerance"), [("int8", 0.15), ("int4", 1.2)])
def test_quantized_graphs_stay_near_the_float_ones(tmp_path, precision, tolerance):
    """Bounds on random weights: they say that nothing is wired wrongly, not what a trained model
    loses."""
    pytest.importorskip("torch")
    from tests.support.checkpoints import make_checkpoint
    from tests.support.tensorrt_cpu import cpu_runtime, write_bundle

    source = Checkpoint.open(make_checkpoint(tmp_path / "model", "untied", seed=5))
    rows = {}
    for name in ("fp16", precision):
        bundle = write_bundle(tmp_path / name, source, name)
        with cpu_runtime(bundle) as runtime, runtime.open_session() as session:
            first = session.prefill([TextSegment(tuple(range(20, 60)))], keep_logits=4)
            rows[name] = np.concatenate([first, session.decode(7)[None]])
    difference = np.abs(rows[precision] - rows["fp16"]).max() / rows["fp16"].std()
    assert 0 < difference < tolerance
