"""Importance matrices: measured on both turns, written for llama.cpp, used by the export."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed (extra torch)")
pytest.importorskip("gguf", reason="gguf is not installed (extra gguf)")
pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (extra gguf)")

from awares_edge.apps.cli import main
from awares_edge.calibration.importance import (
    Importance,
    measure,
    noise_questions,
    read_questions,
)
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
    low, zoomed = noise_questions(2)
    assert (low.crops, zoomed.crops) == ((), ("0",))
    one, both = measure(checkpoint, [low]), measure(checkpoint, [low, zoomed])
    name = "text.layers.0.self_attn.q_proj.weight"
    # The second question adds a low-res view and a crop of 8 x 8 visual tokens each.
    assert both.counts[name] - one.counts[name] > 2 * 64
    # Seven matrices a layer, and the tied head under the embedding's name.
    assert len(both.sums) == 7 * SHAPE.layers + 1

    save_importance(tmp_path / "i.gguf", both.sums, both.counts, "noise")
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
        {"image": "a.png", "question": "?", "crops": "3"},
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


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"image": "a.png"}', "3", '{"image":1,"question":"","crops":4}']
)
def test_lines_of_another_form(tmp_path, line):
    path = tmp_path / "q.jsonl"
    path.write_text('{"image": "a.png", "question": "?"}\n' + line)
    with pytest.raises(InputError, match="line 2"):
        read_questions(path)


def test_no_questions(checkpoint, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_questions(tmp_path / "none")
    with pytest.raises(InputError, match="at least one question"):
        measure(checkpoint, [])
