"""What one quantized matrix does to decisions, in torch as onnxruntime would compute it."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra torch)")

from awares_edge.api import load
from awares_edge.apps.cli import main
from awares_edge.calibration import sensitivity
from awares_edge.calibration.observe import linear_layers, network_of
from awares_edge.calibration.questions import synthetic_questions
from awares_edge.calibration.sensitivity import (
    decision_logits,
    drift,
    formats_for,
    last_layer,
    measure_drifts,
    rounded,
)
from awares_edge.calibration.weights import measure_weights
from awares_edge.checkpoint import Checkpoint
from awares_edge.export import OnnxFormat, export_checkpoint
from awares_edge.export.measured import drift_layers, read_measured
from awares_edge.protocol.profiles import get_profile
from tests.support.checkpoints import make_checkpoint
from tests.support.times import made_up_times

QUESTIONS = synthetic_questions(8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("sensitivity") / "tied", "tied")


def test_decisions_are_the_first_logits_of_each_reply(checkpoint):
    with load(checkpoint, runtime="torch") as model:
        rows = decision_logits(model, QUESTIONS)
        # One behind each low-res view, and one more behind crops, in half of the questions.
        assert rows.shape == (12, model.runtime.vocabulary)
        assert np.array_equal(rows, decision_logits(model, QUESTIONS))


@pytest.mark.parametrize("format", ["int8", "int4"])
@pytest.mark.parametrize(
    "layer",
    [
        *("visual.blocks.1.attn.qkv", "visual.blocks.0.mlp.down_proj", "visual.merger.mlp.2"),
        *("text.layers.0.self_attn.o_proj", "text.layers.1.mlp.gate_proj", "last"),
    ],
)
def test_torch_computes_what_the_exported_bundle_computes(checkpoint, tmp_path, layer, format):
    """One matrix rounded, all others in float32: the same drift in onnxruntime, to a thousandth."""
    spec = Checkpoint.open(checkpoint).spec
    layer = f"text.layers.{spec.layers - 1}.mlp.down_proj" if layer == "last" else layer
    bundle = export_checkpoint(
        checkpoint,
        tmp_path / "b",
        format=OnnxFormat("int8", keep=(f"{layer}={format}", "*=fp32")),
        profile=get_profile("paper"),
    )
    with load(bundle.root) as model:
        real = decision_logits(model, QUESTIONS[:4])
    with load(checkpoint, runtime="torch") as model:
        exact = decision_logits(model, QUESTIONS[:4])
        module = dict(linear_layers(network_of(model)))[layer]
        last = layer.startswith(last_layer(spec))
        with rounded([module], formats_for(module.weight.shape[1])[format], last=last):
            fake = decision_logits(model, QUESTIONS[:4])
        assert np.array_equal(decision_logits(model, QUESTIONS[:4]), exact)
    assert drift(fake, real) < 1e-3 * drift(exact, real)


def test_every_matrix_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(sensitivity, "QUESTIONS", 1)
    checkpoint = make_checkpoint(tmp_path / "c", "wide")
    done = []
    measured = measure_weights(checkpoint, QUESTIONS)
    found = measure_drifts(
        checkpoint, QUESTIONS, measured, progress=lambda *step: done.append(step)
    )
    names = drift_layers(Checkpoint.open(checkpoint).spec)
    assert sorted(found.drifts) == sorted(names)
    assert done[-1] == (len(names), len(names))
    values = np.array([[one["int8"], one["int4"]] for one in found.drifts.values()])
    assert (values > 0).all()
    assert values.max() < 0.5
    # Equal where no 4-bit block divides the rows, so that int8 takes its place.
    assert (values[:, 1] >= values[:, 0]).all()
    assert (values[:, 1] > 3 * values[:, 0]).mean() > 0.5


def test_with_hessians_4_bits_move_decisions_less(tmp_path, monkeypatch):
    """Their numbers are chosen by GPTQ here as in an export."""
    monkeypatch.setattr(sensitivity, "QUESTIONS", 4)
    checkpoint = make_checkpoint(tmp_path / "c", "wide")
    measured = measure_weights(checkpoint, QUESTIONS, hessian_limit=128)
    ours, others = (
        measure_drifts(checkpoint, QUESTIONS, one).drifts
        for one in (measured, replace(measured, hessians={}))
    )
    gains = [ours[name]["int4"] / others[name]["int4"] for name in measured.hessians]
    assert len(gains) > 4
    assert np.median(gains) < 0.8
    assert all(ours[name]["int8"] == others[name]["int8"] for name in ours)


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sensitivity, "QUESTIONS", 1)
    checkpoint = make_checkpoint(tmp_path / "c", "wide")
    file, out = str(tmp_path / "m.safetensors"), str(tmp_path / "b")
    measure = ["calibrate", "weights", str(checkpoint), "-o", file, "--sensitivity", "--json"]
    assert main(measure) == 0
    assert json.loads(capsys.readouterr().out)["sensitivity"] is True
    assert read_measured(tmp_path / "m.safetensors", Checkpoint.open(checkpoint).spec).drifts
    export = ["export", str(checkpoint), "-o", out, "--precision", "mixed", "--calibration", file]
    assert main([*export, "--budget-mb", "0.01"]) == 2
    assert (
        "a budget of 0.01 MB is too small for this model: give at least" in capsys.readouterr().err
    )
    assert main([*export, "--budget-ms", "100"]) == 2
    assert "needs the times of the device" in capsys.readouterr().err
    times = tmp_path / "times.json"
    times.write_text("{")
    assert main([*export, "--budget-ms", "100", "--times", str(times)]) == 2
    error = capsys.readouterr().err
    assert f"{times} is not valid JSON: measure it again" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "b").exists()
    made_up_times(Checkpoint.open(checkpoint).spec).save(times)
    assert main([*export, "--budget-mb", "1", "--budget-ms", "10000", "--times", str(times)]) == 0
    assert "a two-turn question takes" in capsys.readouterr().out
    export.append("--overwrite")
    assert main([*export, "--budget-mb", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "mixed"
