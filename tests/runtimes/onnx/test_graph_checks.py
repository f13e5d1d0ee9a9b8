"""Graphs that load but are not the manifest's model, or that cannot compute: one line each."""

import numpy as np
import pytest

import awares_edge
from awares_edge.api import embedded_bundle
from awares_edge.errors import BundleError
from tests.support.forged import forge

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra export)")
helper = onnx.helper

IMAGE = np.zeros((60, 60, 3), np.uint8)


def graph(name):
    return onnx.load(embedded_bundle() / name, load_external_data=False)


@pytest.mark.parametrize(("name", "other"), [("text", "vision"), ("vision", "text")])
def test_the_wrong_graph(tmp_path, name, other):
    data = (embedded_bundle() / f"{other}.onnx").read_bytes()
    root = forge(tmp_path / "b", {f"{name}.onnx": data})
    with pytest.raises(BundleError, match=f"the {name} graph does not fit the manifest's model"):
        awares_edge.load(root, threads=1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda b: b["model"].update(layers=3), "inputs or outputs"),
        (lambda b: b["model"].update(layers=5), "inputs or outputs"),
        (lambda b: b["model"].update(kv_heads=3), "past_key_values"),
        (lambda b: b["model"].update(heads=12, head_dim=16, mrope_section=[0, 0, 8]), "rotary"),
        (lambda b: b["model"]["vision"].update(heads=3), "rotary"),
    ],
)
def test_a_manifest_of_another_model(tmp_path, change, what):
    root = forge(tmp_path / "b", change=change)
    with pytest.raises(BundleError, match=rf"does not fit the manifest's model \(.*{what}"):
        awares_edge.load(root, threads=1)


@pytest.mark.parametrize("more", ["input", "output"])
def test_inputs_and_outputs_that_no_export_has(tmp_path, more):
    model = graph("vision.onnx")
    extra = helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, [1])
    if more == "input":
        model.graph.input.append(extra)
    else:
        model.graph.node.append(helper.make_node("Shape", ["pixel_values"], ["extra"]))
        extra = helper.make_tensor_value_info("extra", onnx.TensorProto.INT64, [2])
        model.graph.output.append(extra)
    root = forge(tmp_path / "b", {"vision.onnx": model.SerializeToString()})
    with pytest.raises(BundleError, match="inputs or outputs"):
        awares_edge.load(root, threads=1)


def test_a_graph_that_cannot_compute(tmp_path):
    model = graph("vision.onnx")
    # The patches' order, of which no patch is the millionth.
    for node in model.graph.node:
        node.input[:] = ["far" if name == "patch_order" else name for name in node.input]
    million = helper.make_tensor("million", onnx.TensorProto.INT64, [], [1_000_000])
    model.graph.initializer.append(million)
    model.graph.node.insert(0, helper.make_node("Add", ["patch_order", "million"], ["far"]))
    root = forge(tmp_path / "b", {"vision.onnx": model.SerializeToString()})
    with (
        awares_edge.load(root, threads=1) as loaded,
        pytest.raises(BundleError, match="onnxruntime cannot compute the vision graph") as caught,
    ):
        loaded.ask(IMAGE, "What?")
    assert "\n" not in str(caught.value)


def test_features_of_another_count(tmp_path):
    model = graph("vision.onnx")
    last = model.graph.node[-1]
    assert "image_features" in last.output
    last.output[0] = "all_features"
    twice = helper.make_node("Concat", 2 * ["all_features"], ["image_features"], axis=0)
    model.graph.node.append(twice)
    root = forge(tmp_path / "b", {"vision.onnx": model.SerializeToString()})
    with (
        awares_edge.load(root, threads=1) as loaded,
        pytest.raises(BundleError, match="features of another shape"),
    ):
        loaded.ask(IMAGE, "What?")
