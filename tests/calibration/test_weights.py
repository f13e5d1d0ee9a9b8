"""What goes into each matrix, measured on both turns: one file for every export."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed (extra torch)")

from awares_edge.apps.cli import main
from awares_edge.calibration.hessians import Hessians, too_wide
from awares_edge.calibration.questions import CalibrationQuestion, synthetic_questions
from awares_edge.calibration.weights import Statistics, measure_weights
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.errors import CheckpointError, InputError
from awares_edge.export.measured import LEAST_QUESTIONS, read_measured
from awares_edge.runtimes.base import TextSegment
from tests.support.checkpoints import make_checkpoint
from tests.support.gguf import GGUF_SHAPES
from tests.support.tensorrt_cpu import cpu_runtime, write_bundle


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("weights") / "model", "untied", seed=4)


@pytest.fixture(scope="module")
def questions():
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    low = CalibrationQuestion(Image.fromarray(pixels), "What?", ())
    zoomed = CalibrationQuestion(Image.fromarray(pixels[:60]), "Where is it?", ("3",))
    return [low, zoomed] * (LEAST_QUESTIONS // 2)


@pytest.fixture(scope="module")
def measured(checkpoint, questions):
    done = []
    found = measure_weights(checkpoint, questions, dataset="noise", progress=done.append)
    assert done == list(range(1, LEAST_QUESTIONS + 1))
    return found


def same(one, other):
    return all(
        np.array_equal(getattr(one.inputs[name], part), getattr(other.inputs[name], part))
        for name in one.inputs
        for part in ("largest", "mean", "square", "histogram")
    )


def test_statistics_are_those_of_all_inputs_together():
    rng = np.random.default_rng(0)
    pieces = [rng.normal(size=(n, 5)).astype(np.float32) for n in (3, 1, 7)]
    statistics = Statistics()
    for piece in pieces:
        statistics.add("a", piece)
    found, whole = statistics.inputs("a"), np.concatenate(pieces)
    assert statistics.counts == {"a": 11}
    assert np.array_equal(found.largest, np.abs(whole).max(axis=0))
    np.testing.assert_allclose(found.mean, np.abs(whole).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.square, (whole**2).mean(axis=0), rtol=1e-6)
    assert found.range == np.abs(whole).max()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_an_input_that_cannot_be_used_is_named(value):
    statistics = Statistics()
    statistics.add("text.layers.0.mlp.up_proj", np.full((2, 3), value, dtype=np.float32))
    with pytest.raises(CheckpointError, match=r"text\.layers\.0\.mlp\.up_proj must be finite"):
        statistics.inputs("text.layers.0.mlp.up_proj")


@pytest.mark.parametrize("tokens", [1, 30, 700])
def test_hessians_are_means_over_all_inputs(tokens):
    """Decoded tokens come one by one, prompts at once."""
    inputs = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
    hessians = Hessians(64)
    for start in range(0, 1000, tokens):
        hessians.add("text.layers.0.mlp.gate_proj", inputs[start : start + tokens])
    hessians.add("text.layers.0.mlp.up_proj", inputs)
    hessians.add("text.layers.0.mlp.down_proj", np.ones((4, 96), np.float32))
    hessians.add("visual.blocks.0.mlp.down_proj", np.ones((4, 40), np.float32))
    ((name, hessian),) = hessians.take().items()
    assert name == "text.layers.0.mlp.gate_proj"
    np.testing.assert_allclose(hessian.matrix(), inputs.T @ inputs / 1000, atol=1e-5)


def test_hessians_that_overflow_are_refused():
    hessians = Hessians(64)
    hessians.add("lm_head", np.full((2, 32), 1e30, np.float32))
    with pytest.raises(CheckpointError, match="inputs of lm_head are too large to multiply"):
        hessians.take()


def test_the_diagonal_of_a_hessian_is_the_mean_squares(checkpoint, questions, measured):
    found = measure_weights(checkpoint, questions, dataset="noise", hessian_limit=64)
    assert same(found, measured)
    assert not measured.hessians
    # Both towers' other inputs are 48, 80, 96 and 192 wide; no 4-bit block divides 48 and 80.
    layers = range(Checkpoint.open(checkpoint).spec.layers)
    parts = ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj")
    expected = {f"text.layers.{i}.{part}" for i in layers for part in parts} | {"lm_head"}
    assert found.hessians.keys() == expected
    for name, hessian in found.hessians.items():
        square = found.inputs[name].square
        np.testing.assert_allclose(np.diag(hessian.matrix()), square, rtol=1e-5)
    wide = too_wide(found)
    assert "text.layers.0.mlp.down_proj" in wide
    assert not any("self_attn" in name or "attn.qkv" in name for name in wide)


def test_every_matrix_of_both_towers_is_there(checkpoint, measured):
    spec = Checkpoint.open(checkpoint).spec
    # Seven matrices a text layer and the head; five a vision block and two of the merger.
    assert len(measured.inputs) == 7 * spec.layers + 1 + 5 * spec.vision.depth + 2
    found = measured.inputs
    # Gate and up read the same normalised input, as query, key and value do.
    for one, other in (("mlp.gate", "mlp.up"), ("self_attn.q", "self_attn.v")):
        pair = (found[f"text.layers.0.{part}_proj"] for part in (one, other))
        assert len({part.range for part in pair}) == 1
    assert (measured.origin.questions, measured.origin.zoomed) == (8, 4)
    assert measured.origin.dataset == "noise"


def test_both_turns_count(checkpoint, questions, measured):
    """The largest inputs of all questions are those of low-res and crop turns together."""
    low, zoomed = (measure_weights(checkpoint, [q] * LEAST_QUESTIONS) for q in questions[:2])
    more_crops = measure_weights(
        checkpoint, [replace(questions[0], crops=("all",))] * LEAST_QUESTIONS
    )
    for name, inputs in measured.inputs.items():
        both = np.maximum(low.inputs[name].largest, zoomed.inputs[name].largest)
        assert np.array_equal(inputs.largest, both)
    assert not same(low, more_crops)


def test_an_adapter_is_merged_first(checkpoint, questions, measured, tmp_path):
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
    found = measure_weights(checkpoint, questions, adapter=tmp_path / "adapter")
    shutil.copytree(checkpoint, tmp_path / "merged")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    merged = measure_weights(tmp_path / "merged", questions)
    for name, inputs in found.inputs.items():
        np.testing.assert_allclose(inputs.largest, merged.inputs[name].largest, rtol=1e-3)
    down = "text.layers.0.mlp.down_proj"
    assert found.inputs[down].range > 1.1 * measured.inputs[down].range
    assert len({m.origin.checkpoint for m in (found, merged, measured)}) == 3


@pytest.mark.parametrize(("precision", "tolerance"), [("w8a8", 0.25), ("fp8", 0.6)])
def test_graphs_with_quantized_inputs_stay_near_the_float_ones(
    checkpoint, measured, tmp_path, precision, tolerance
):
    source = Checkpoint.open(checkpoint)
    rows = {}
    for name, given in (("fp16", None), (precision, measured)):
        bundle = write_bundle(tmp_path / name, source, name, given)
        with cpu_runtime(bundle) as runtime, runtime.open_session() as session:
            first = session.prefill([TextSegment(tuple(range(20, 60)))], keep_logits=4)
            rows[name] = np.concatenate([first, session.decode(7)[None]])
    assert 0 < np.abs(rows[precision] - rows["fp16"]).max() / rows["fp16"].std() < tolerance
    model = onnx.load(tmp_path / precision / "text.onnx", load_external_data=False)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") == 5 * source.spec.layers


@pytest.mark.parametrize("precision", ["w8a8", "fp8"])
def test_the_ranges_of_tensorrt_graphs_are_those_that_are_asked_for(
    checkpoint, measured, tmp_path, precision
):
    source, steps = Checkpoint.open(checkpoint), {}
    for ranges in ("minmax", "percentile", "entropy"):
        bundle = write_bundle(tmp_path / ranges, source, precision, measured, ranges)
        graph = onnx.load(bundle.path("text.onnx"), load_external_data=False).graph
        steps[ranges] = {
            tensor.name: float(onnx.numpy_helper.to_array(tensor))
            for tensor in graph.initializer
            if tensor.name.endswith(":range")
        }
    assert len(steps["minmax"]) == 5 * source.spec.layers
    for ranges in ("percentile", "entropy"):
        shares = [steps[ranges][name] / step for name, step in steps["minmax"].items()]
        assert max(shares) <= 1
        assert min(shares) < 0.99


@pytest.mark.parametrize("count", [0, 1, LEAST_QUESTIONS - 1])
def test_too_few_questions(checkpoint, questions, count):
    with pytest.raises(InputError, match=f"at least 8 questions, there are {count}: give"):
        measure_weights(checkpoint, questions[:count])


def test_the_commands(tmp_path, capsys):
    pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (extra gguf)")
    checkpoint = make_checkpoint(tmp_path / "c", GGUF_SHAPES["tied"], seed=5)
    Image.new("RGB", (230, 200), "red").save(tmp_path / "a.png")
    data = tmp_path / "questions.jsonl"
    row = {"image": "a.png", "question": "?", "crops": ["3"], "answer": "red"}
    data.write_text("\n".join([json.dumps(row)] * 8) + "\n\n")
    file = tmp_path / "m.safetensors"
    arguments = ["calibrate", "weights", str(checkpoint), str(data), "-o", str(file), "--json"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["questions"], printed["zoomed"]) == (8, 8)
    found = read_measured(file, Checkpoint.open(checkpoint).spec)
    assert found.origin.dataset == "questions.jsonl"

    export = ["export", str(checkpoint), "--format", "gguf", "--precision", "q4_0", "--json"]
    assert main([*export, "-o", str(tmp_path / "plain")]) == 0
    assert main([*export, "-o", str(tmp_path / "with"), "--calibration", str(file)]) == 0
    plain, weighted = (next((tmp_path / n).glob("c-Q4_0.gguf")) for n in ("plain", "with"))
    assert plain.stat().st_size == weighted.stat().st_size
    assert plain.read_bytes() != weighted.read_bytes()


def test_without_questions_the_synthetic_suite_is_asked(checkpoint, tmp_path, capsys):
    file = tmp_path / "m.safetensors"
    assert main(["calibrate", "weights", str(checkpoint), "-o", str(file), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["questions"] == len(synthetic_questions())
    assert "protocol: paper, the default; --protocol chooses another" in printed.err
    assert b"synthetic suite" in file.read_bytes()


def test_the_command_measures_hessians_on_demand(checkpoint, tmp_path, capsys):
    Image.new("RGB", (230, 200), "red").save(tmp_path / "a.png")
    data = tmp_path / "questions.jsonl"
    data.write_text('{"image": "a.png", "question": "?", "crops": []}\n' * 8)
    file = tmp_path / "m.safetensors"
    command = ["calibrate", "weights", str(checkpoint), str(data), "-o", str(file)]
    assert main([*command, "--gptq", "--gptq-limit", "64"]) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "without GPTQ, such as visual.merger.mlp.0: they have more than 64 inputs" in printed
    assert "a larger --gptq-limit includes them" in printed
    spec = Checkpoint.open(checkpoint).spec
    assert len(read_measured(file, spec).hessians) == 3 * spec.layers + 1
    assert main([*command, "--gptq-limit", "64"]) == 2
    assert "--gptq-limit is for --gptq" in capsys.readouterr().err


def test_too_few_questions_leave_nothing(checkpoint, tmp_path, capsys):
    (tmp_path / "q.jsonl").write_text('{"image": "a.png", "question": "?"}\n')
    file = tmp_path / "m.safetensors"
    data = str(tmp_path / "q.jsonl")
    assert main(["calibrate", "weights", str(checkpoint), data, "-o", str(file)]) == 2
    error = capsys.readouterr().err
    assert "there are 1: give 7 more" in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]
