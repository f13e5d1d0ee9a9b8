"""Formats that quantize activations: ranges are measured, and the graphs use them."""

import json

import numpy as np
import onnx
import pytest
from PIL import Image

from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.errors import ExportError
from awares_edge.export.tensorrt.ranges import measure_ranges, read_ranges
from awares_edge.runtimes.base import TextSegment
from awares_edge.runtimes.tensorrt.cpu import cpu_runtime
from tests.support.tensorrt_cpu import write_bundle

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests.support.checkpoints import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("ranges") / "model", "untied", seed=4)


@pytest.fixture(scope="module")
def ranges(checkpoint, tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("measured") / "ranges.json"
    told = []
    measure_ranges(
        checkpoint,
        [(Image.fromarray(pixels), "What?"), (Image.fromarray(pixels[:60]), "Where is it?")],
        path,
        max_new_tokens=4,
        progress=told.append,
    )
    assert told == [1, 2]
    return path


def test_every_layer_has_one(checkpoint, ranges):
    found = read_ranges(ranges)
    layers = range(Checkpoint.open(checkpoint).spec.layers)
    attention = "{0}.q_proj+{0}.k_proj+{0}.v_proj"
    expected = set()
    for i in layers:
        at = f"text.layers.{i}"
        expected |= {
            attention.format(f"{at}.self_attn"),
            f"{at}.self_attn.o_proj",
            *(f"{at}.mlp.{name}_proj" for name in ("gate", "up", "down")),
        }
    assert set(found) == expected
    # Gate and up read the same normalised input.
    assert found["text.layers.0.mlp.gate_proj"] == found["text.layers.0.mlp.up_proj"]


@pytest.mark.parametrize(("precision", "tolerance"), [("w8a8", 0.25), ("fp8", 0.6)])
def test_graphs_stay_near_the_float_ones(checkpoint, ranges, tmp_path, precision, tolerance):
    source = Checkpoint.open(checkpoint)
    rows = {}
    for name in ("fp16", precision):
        bundle = write_bundle(tmp_path / name, source, name, read_ranges(ranges))
        with cpu_runtime(bundle) as runtime, runtime.open_session() as session:
            first = session.prefill([TextSegment(tuple(range(20, 60)))], keep_logits=4)
            rows[name] = np.concatenate([first, session.decode(7)[None]])
    assert 0 < np.abs(rows[precision] - rows["fp16"]).max() / rows["fp16"].std() < tolerance
    model = onnx.load(tmp_path / precision / "text.onnx", load_external_data=False)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") == 5 * source.spec.layers


def test_a_missing_range_is_named(checkpoint, ranges, tmp_path):
    found = read_ranges(ranges)
    del found["text.layers.1.mlp.down_proj"]
    with pytest.raises(ExportError, match=r"none for text\.layers\.1\.mlp\.down_proj"):
        write_bundle(tmp_path / "b", Checkpoint.open(checkpoint), "w8a8", found)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 2, "ranges": {}}', '{"version": 1, "ranges": {"a": "x"}}']
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "ranges.json"
    path.write_text(text)
    with pytest.raises(ExportError, match="no file of measured ranges"):
        read_ranges(path)
    path.write_text(json.dumps({"version": 1, "ranges": {"a": 1e9}}))
    with pytest.raises(ExportError, match="no magnitudes"):
        read_ranges(path)


def test_samples_are_needed(checkpoint, tmp_path):
    with pytest.raises(ExportError, match="no samples"):
        measure_ranges(checkpoint, [], tmp_path / "ranges.json")
    assert list(tmp_path.iterdir()) == []
