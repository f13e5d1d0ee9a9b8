"""The machine's limits, and how much work a phase is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from awares_edge import embedded_bundle
from awares_edge.evaluation.profile.limits import measure_limits
from awares_edge.evaluation.profile.tiny_onnx import product_model
from awares_edge.evaluation.profile.work import (
    Shape,
    decode_bytes,
    head_parameters,
    prefill_operations,
    shares,
    text_parameters,
    vision_operations,
)

onnxruntime = pytest.importorskip("onnxruntime")
SHAPE = Shape.read(embedded_bundle())


@pytest.mark.parametrize(
    ("operator", "left", "right", "out"),
    [("MatMul", "float32", "float32", "float32"), ("MatMulInteger", "uint8", "int8", "int32")],
)
def test_the_tiny_model_is_the_product(operator, left, right, out):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 100, (5, 300)).astype(left)
    w = rng.integers(-100, 100, (300, 7)).astype(right)
    model = product_model(operator, 5, w, left, out)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    assert y.dtype == out
    np.testing.assert_array_equal(y, x.astype(np.int64) @ w.astype(np.int64))


def test_the_tiny_model_is_valid_onnx():
    onnx = pytest.importorskip("onnx")
    model = product_model("MatMul", 5, np.ones((3, 2), np.float32), "float32", "float32")
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)


@pytest.mark.slow
def test_limits_are_of_the_right_order():
    found = measure_limits(1)
    assert 1e9 < found["fp32_flops"] < 1e13
    assert 1e9 < found["int8_ops"] < 1e14
    assert 1e8 < found["read_bytes_s"] < 1e12


@pytest.fixture(scope="module")
def counted():
    """Operations by torch's own counter over transformers."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from torch.utils.flop_counter import FlopCounterMode

    from awares_edge.runtimes.base import ImageSegment, TextSegment
    from awares_edge.runtimes.torch_reference import TorchRuntime
    from awares_edge.vision.geometry import Grid
    from awares_edge.vision.patches import Patches

    root = Path(__file__).resolve().parents[3] / "checkpoints" / "nano"
    runtime = TorchRuntime.load(root)
    patches = Patches(np.zeros((256, 1176), np.float32), Grid(16, 16))
    found = {}
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            image = runtime.encode_image(patches)
        found["vision"] = counter.get_total_flops()
        session = runtime.open_session()
        with FlopCounterMode(display=False) as counter:
            session.prefill([TextSegment(tuple(range(40))), ImageSegment(image)])
        found["prefill"] = counter.get_total_flops()
    return found


def test_operations_of_vision(counted):
    ours = vision_operations(SHAPE.spec.vision, 64)
    assert ours == pytest.approx(counted["vision"], rel=0.02)


def test_operations_of_prefill(counted):
    """torch computes the whole square of scores, of which the causal half is needed."""
    spec, cells = SHAPE.spec, 40 + 64
    half = 4 * spec.layers * spec.heads * spec.head_dim * cells * (cells - 1) / 2
    ours = prefill_operations(spec, cells, 0) + half
    assert ours == pytest.approx(counted["prefill"], rel=0.02)


def test_parameters_are_those_of_the_checkpoint():
    root = Path(__file__).resolve().parents[3] / "checkpoints" / "nano"
    spec = Shape.read(root).spec
    norms = (2 * spec.layers + 1) * spec.hidden_size
    biases = spec.layers * (spec.heads + 2 * spec.kv_heads) * spec.head_dim
    assert spec.tied
    with (root / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    counted = sum(
        int(np.prod(tensor["shape"]))
        for name, tensor in header.items()
        if name != "__metadata__" and "visual" not in name
    )
    assert text_parameters(spec) + head_parameters(spec) + norms + biases == counted


def test_a_share_is_work_over_time_over_the_limit():
    turn = {
        "ms": {"vision": 10.0, "prefill": 10.0, "decode": 10.0, "preprocess": 1.0},
        "image_tokens": [16, 16], "prefill_tokens": 50, "reused_tokens": 30, "steps": 4,
    }  # fmt: skip
    limits = {"fp32_flops": 1e9, "int8_ops": 4e9, "read_bytes_s": 1e10}
    spec = SHAPE.spec
    found = shares(SHAPE, turn, limits, "onnx", "fp16")
    assert found == {
        "vision": pytest.approx(2 * vision_operations(spec.vision, 16) / 0.01 / 1e9),
        "prefill": pytest.approx(prefill_operations(spec, 50, 30) / 0.01 / 1e9),
        "decode": pytest.approx(decode_bytes(spec, 4, 4.0) / 0.01 / 1e10),
    }
    ours = shares(SHAPE, turn, limits, "onnx", "int8")
    assert ours["prefill"] == pytest.approx(found["prefill"] / 4)
    assert ours["decode"] == pytest.approx(found["decode"] / 4)
    assert shares(SHAPE, turn, {}, "onnx", "fp16") == {}


def test_gguf_weights_count_as_they_are_stored():
    weights = text_parameters(SHAPE.spec) + head_parameters(SHAPE.spec)
    assert replace(SHAPE, text_bytes=weights * 2).weight_bytes("llamacpp", "f16") == 2.0
    assert SHAPE.weight_bytes("onnx", "fp16") == 4.0
    assert SHAPE.weight_bytes("onnx", "int5") is None
