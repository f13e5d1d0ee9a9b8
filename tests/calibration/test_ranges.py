"""Formats that quantize activations: ranges are measured, and the graphs use them."""

import json
import shutil

import numpy as np
import onnx
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed (extra torch)")

from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.calibration.ranges import measure_ranges
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.errors import ExportError, InputError
from awares_edge.export.tensorrt.formats import NUMBER_FORMATS, format_chooser
from awares_edge.export.tensorrt.ranges import read_ranges
from awares_edge.runtimes.base import TextSegment
from tests.support.checkpoints import make_checkpoint
from tests.support.tensorrt_cpu import cpu_runtime, write_bundle


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("ranges") / "model", "untied", seed=4)


@pytest.fixture(scope="module")
def questions():
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    low = CalibrationQuestion(Image.fromarray(pixels), "What?", ())
    return [low, CalibrationQuestion(Image.fromarray(pixels[:60]), "Where is it?", ("3",))]


@pytest.fixture(scope="module")
def ranges(checkpoint, questions, tmp_path_factory):
    path = tmp_path_factory.mktemp("measured") / "ranges.json"
    done = []
    measured = measure_ranges(checkpoint, questions, path, progress=done.append)
    assert done == [1, 2]
    assert read_ranges(path) == measured
    return path


def test_every_layer_but_the_head_has_one(checkpoint, ranges):
    found = read_ranges(ranges)
    parts = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up")
    layers = range(Checkpoint.open(checkpoint).spec.layers)
    assert set(found) == {
        f"text.layers.{i}.{part}_proj" for i in layers for part in (*parts, "mlp.down")
    }
    # Gate and up read the same normalised input, as query, key and value do.
    assert found["text.layers.0.mlp.gate_proj"] == found["text.layers.0.mlp.up_proj"]
    assert found["text.layers.0.self_attn.q_proj"] == found["text.layers.0.self_attn.v_proj"]


def test_the_largest_magnitude_over_all_questions_counts(checkpoint, questions, ranges, tmp_path):
    both = read_ranges(ranges)
    single = [measure_ranges(checkpoint, [q], tmp_path / "r.json") for q in questions]
    assert both == {name: max(one[name] for one in single) for name in both}


def test_an_adapter_is_merged_first(checkpoint, questions, ranges, tmp_path):
    peft = pytest.importorskip("peft")
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["v_proj", "up_proj"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.2)
    adapted.save_pretrained(tmp_path / "adapter")
    found = measure_ranges(checkpoint, questions, tmp_path / "r.json", adapter=tmp_path / "adapter")
    shutil.copytree(checkpoint, tmp_path / "merged")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    assert found == pytest.approx(
        measure_ranges(tmp_path / "merged", questions, tmp_path / "r.json"), rel=1e-4
    )
    plain = read_ranges(ranges)
    assert found["text.layers.0.mlp.down_proj"] > 1.1 * plain["text.layers.0.mlp.down_proj"]


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
    with pytest.raises(ExportError, match=r"lacks text\.layers\.1\.mlp\.down_proj"):
        write_bundle(tmp_path / "b", Checkpoint.open(checkpoint), "w8a8", found)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "[" * 100_000, '{"version": 1}'),
        *('{"version": 2, "ranges": {}}', '{"version": 1, "ranges": {"a": "x"}}'),
        *('{"version": 1, "ranges": {"a": NaN}}', '{"version": 1, "ranges": {"a": 1, "a": 2}}'),
    ],
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "ranges.json"
    path.write_text(text)
    with pytest.raises(ExportError, match="not a file of measured ranges"):
        read_ranges(path)
    path.write_text(json.dumps({"version": 1, "ranges": {"a": 1e9}}))
    with pytest.raises(ExportError, match="every range must be between 0 and 60000"):
        read_ranges(path)


def test_questions_are_needed(checkpoint, tmp_path):
    with pytest.raises(InputError, match="at least one question"):
        measure_ranges(checkpoint, [], tmp_path / "ranges.json")
    assert list(tmp_path.iterdir()) == []


def test_joined_layers_have_one_range():
    """Files of earlier versions hold one range for joined layers, by their joined name."""
    choose = format_chooser(NUMBER_FORMATS["w8a8"], {"a": 1.0, "b": 3.0, "c+d": 2.0})
    assert choose("a.weight+b.weight", (4, 4)).input_range == 3.0
    assert choose("c.weight+d.weight", (4, 4)).input_range == 2.0
