"""Importance matrices: measured on both turns, written for llama.cpp, used by the export."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed (extra torch)")
pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (extra gguf)")

from awares_edge.apps.cli import main
from awares_edge.calibration.importance import Importance, measure_importance
from awares_edge.calibration.questions import synthetic_questions
from awares_edge.checkpoint import Checkpoint
from awares_edge.errors import InputError
from awares_edge.export.gguf.importance import read_importance, save_importance
from tests.support.checkpoints import make_checkpoint
from tests.support.gguf import GGUF_SHAPES

SHAPE = GGUF_SHAPES["tied"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("importance") / "c", SHAPE, seed=5)


def test_sums_are_of_squares_and_add_up():
    importance = Importance()
    importance.add("a", np.array([[1.0, 2.0], [3.0, -4.0]], np.float32))
    importance.add("a", np.array([[1.0, 1.0]], np.float32))
    assert importance.sums["a"].tolist() == [11.0, 21.0]
    assert importance.counts == {"a": 3}


def test_measured_on_both_turns_and_read_back(checkpoint, tmp_path):
    [low] = synthetic_questions(1)
    one = measure_importance(checkpoint, [low])
    both = measure_importance(checkpoint, [replace(low, crops=("all",))])
    name = "text.layers.0.self_attn.q_proj.weight"
    # A crop of 8 x 8 visual tokens more; of the answer's 32 tokens there may be fewer.
    assert both.counts[name] - one.counts[name] > 64 - 32
    # Seven matrices a layer, and the tied head under the embedding's name.
    assert len(both.sums) == 7 * SHAPE.layers + 1

    save_importance(tmp_path / "i.gguf", both.sums, both.counts, "synthetic suite")
    means = read_importance(tmp_path / "i.gguf", Checkpoint.open(checkpoint).spec)
    assert len(means) == len(both.sums)
    expected = both.sums[name] / both.counts[name]
    np.testing.assert_allclose(means["blk.0.attn_q.weight"], expected, rtol=1e-6)
    assert "token_embd.weight" in means


def test_the_commands(checkpoint, tmp_path, capsys):
    Image.new("RGB", (230, 200), "red").save(tmp_path / "a.png")
    data = tmp_path / "questions.jsonl"
    rows = [
        {"image": "a.png", "question": "What?"},
        {"image": "a.png", "question": "?", "crops": ["3"], "answer": "red"},
    ]
    data.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    matrix = tmp_path / "i.gguf"
    arguments = ["importance", str(checkpoint), str(data), "-o", str(matrix), "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["questions"] == 2

    export = ["export", str(checkpoint), "--format", "gguf", "--precision", "q4_0", "--json"]
    assert main([*export, "-o", str(tmp_path / "plain")]) == 0
    assert main([*export, "-o", str(tmp_path / "with"), "--importance", str(matrix)]) == 0
    plain, weighted = (next((tmp_path / n).glob("c-Q4_0.gguf")) for n in ("plain", "with"))
    assert plain.stat().st_size == weighted.stat().st_size
    assert plain.read_bytes() != weighted.read_bytes()

    onnx = ["export", str(checkpoint), "-o", str(tmp_path / "o"), "--importance", str(matrix)]
    assert main(onnx) == 2
    assert "for --format gguf" in capsys.readouterr().err


def test_without_questions_the_synthetic_suite_is_asked(checkpoint, tmp_path, capsys):
    matrix = tmp_path / "i.gguf"
    assert main(["importance", str(checkpoint), "-o", str(matrix), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["questions"] == len(synthetic_questions())
    assert "protocol: paper, the default; --protocol chooses another" in printed.err
    assert b"synthetic suite" in matrix.read_bytes()


def test_no_questions(checkpoint):
    with pytest.raises(InputError, match="at least one question"):
        measure_importance(checkpoint, [])
