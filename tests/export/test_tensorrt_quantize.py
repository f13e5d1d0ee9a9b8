"""Weight-only numbers: rounding, packing, and graphs that compute with exactly those numbers."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.export.onnx.graph import FP16, FP32, StoredWeight
from awares_edge.export.tensorrt.quantize import (
    QuantizedWeight,
    TensorrtWeightFile,
    int4_block,
    pack_int4,
    quantize_rows,
    stored_bytes,
)
from awares_edge.runtimes.base import TextSegment


@given(seed=st.integers(0, 1000), limit=st.sampled_from([7, 127]))
def test_rounding_is_within_half_a_step(seed, limit):
    rows = np.random.default_rng(seed).normal(size=(4, 32)).astype(np.float32)
    steps, scale = quantize_rows(rows, FP32, limit)
    assert np.abs(rows - steps * scale[:, None]).max() <= scale.max() * 0.5001
    assert np.abs(steps).max() <= limit + (limit == 7)


def test_a_row_of_zeros_stays_zero():
    steps, scale = quantize_rows(np.zeros((1, 8), np.float32), FP16)
    assert not steps.any()
    assert np.isfinite(scale).all()


def test_scales_are_rounded_before_they_are_used():
    rows = np.array([[1000.5, 3.0]], dtype=np.float32)
    steps, scale = quantize_rows(rows, FP16)
    assert scale.dtype == FP16
    assert abs(float(steps[0, 0]) * float(scale[0]) - 1000.5) <= float(scale[0])


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
        self.array, self.shape = array, array.shape

    def rows(self, start, stop):
        return self.array[start:stop]


@pytest.mark.parametrize("block", [0, 32])
def test_a_stored_matrix_is_what_onnxruntime_dequantizes(tmp_path, block):
    weights = np.random.default_rng(1).normal(size=(6, 64)).astype(np.float32)
    parts = (Rows(weights[:4]), Rows(weights[4:]))
    weight = QuantizedWeight(
        StoredWeight("w", parts, (6, 64)), "int4" if block else "int8", block, FP32
    )
    seen = []
    with TensorrtWeightFile(tmp_path / "w.data", FP32, seen.append) as file:
        places = file.write_quantized(weight)
    assert sum(seen) == weights.size
    assert sum(place.length for place in places.values()) == stored_bytes((6, 64), block, 4)
    tensors = []
    for name, kind in ((weight.name, weight.onnx_type), (weight.scale_name, TensorProto.FLOAT)):
        place = places[name]
        raw = (tmp_path / "w.data").read_bytes()[place.offset : place.offset + place.length]
        tensors.append(TensorProto(name=name, data_type=kind, dims=place.shape, raw_data=raw))
    attributes = {"axis": 0, "block_size": block} if block else {"axis": 0}
    node = helper.make_node("DequantizeLinear", [t.name for t in tensors], ["y"], **attributes)
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, weight.shape)
    graph = helper.make_graph([node], "g", [], [value], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    got = ort.InferenceSession(model.SerializeToString()).run(None, {})[0]
    got = got.T if block else got
    limit = 7 if block else 127
    step = np.abs(weights).max() / limit
    assert np.abs(got - weights).max() <= step * 0.51


@pytest.mark.parametrize(("precision", "tolerance"), [("int8", 0.15), ("int4", 1.2)])
def test_quantized_graphs_stay_near_the_float_ones(tmp_path, precision, tolerance):
    """Bounds on random weights: they say that nothing is wired wrongly, not what a trained model
    loses."""
    pytest.importorskip("torch")
    from awares_edge.runtimes.tensorrt.cpu import cpu_runtime
    from tests.support.checkpoints import make_checkpoint
    from tests.support.tensorrt_cpu import write_bundle

    source = Checkpoint.open(make_checkpoint(tmp_path / "model", "untied", seed=5))
    rows = {}
    for name in ("fp16", precision):
        bundle = write_bundle(tmp_path / name, source, name)
        with cpu_runtime(bundle) as runtime, runtime.open_session() as session:
            first = session.prefill([TextSegment(tuple(range(20, 60)))], keep_logits=4)
            rows[name] = np.concatenate([first, session.decode(7)[None]])
    difference = np.abs(rows[precision] - rows["fp16"]).max() / rows["fp16"].std()
    assert 0 < difference < tolerance
