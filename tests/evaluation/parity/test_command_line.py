"""`awares-edge parity`: what it prints, writes and returns."""

import json
import shutil
from pathlib import Path

import pytest

from awares_edge import embedded_bundle, extras
from awares_edge.apps.cli import main
from tests.evaluation.pages import check_page

CHECKPOINT = Path(__file__).resolve().parents[3] / "checkpoints" / "nano"
FEW = ["--limit", "6", "--probes", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def bundle():
    return str(embedded_bundle())


@pytest.fixture(scope="module")
def reference(bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "nano.parity"
    assert main(["parity", bundle, "--save-reference", str(path), *FEW]) == 0
    return str(path)


def refused(arguments, capsys):
    """The one line that says why."""
    assert main(["parity", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = [line for line in printed.err.splitlines() if line.startswith("awares-edge: ")]
    return line


def test_a_bundle_agrees_with_its_saved_reference(bundle, reference, capsys, tmp_path):
    page = tmp_path / "report.html"
    assert main(["parity", reference, bundle, "--threads", "1", "--html", str(page)]) == 0
    printed = capsys.readouterr()
    assert "✓ crop decisions the same: 100.00% (at least 99.00%)" in printed.out
    assert "first stage to diverge: none" in printed.out
    assert "6 questions" in check_page(page.read_text())


def test_json_is_one_object(reference, capsys):
    assert main(["parity", reference, reference, "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert printed.err == ""
    assert found["format"] == "awares-edge-parity-report"
    assert found["candidates"][0]["agrees"]
    assert found["candidates"][0]["probes"] == 2


def test_a_candidate_that_falls_short_gives_exit_code_1(reference, bundle, capsys, monkeypatch):
    from awares_edge.controller import picture

    asks = picture.Picture.stream

    def low(self, question, options=None):
        from awares_edge import AskOptions

        return asks(self, question, AskOptions(mode="low", max_new_tokens=24))

    monkeypatch.setattr(picture.Picture, "stream", low)
    assert main(["parity", reference, bundle, "--threads", "1", "--min-answers", "0"]) == 1
    out = capsys.readouterr().out
    assert "✗ crop decisions the same" in out
    assert "→" in out
    assert main(["parity", reference, bundle, "--threads", "1", "--min-answers", "0",
                 "--min-decisions", "0"]) == 0  # fmt: skip


def test_own_questions(bundle, tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (224, 224), "red").save(tmp_path / "a.png")
    asked = tmp_path / "q.jsonl"
    asked.write_text('{"image": "a.png", "question": "What is the title?"}\n')
    saved = tmp_path / "own.parity"
    options = ["--questions", str(asked), "--threads", "1"]
    assert main(["parity", bundle, "--save-reference", str(saved), *options]) == 0
    assert main(["parity", str(saved), bundle, *options]) == 0
    capsys.readouterr()
    assert "give that file with --questions" in refused([str(saved), bundle], capsys)
    Image.new("RGB", (224, 224), "blue").save(tmp_path / "a.png")
    assert "the same list of questions" in refused([str(saved), bundle, *options], capsys)


def test_another_protocol_is_refused(reference, bundle, capsys):
    line = refused([reference, bundle, "--protocol", "paper"], capsys)
    assert "do not have the same protocol (nano, SHA-256" in line


def test_a_truncated_reference_is_refused_and_nothing_is_written(
    reference, bundle, tmp_path, capsys
):
    cut = tmp_path / "cut.parity"
    cut.write_bytes(Path(reference).read_bytes()[:5000])
    page = tmp_path / "report.html"
    line = refused([str(cut), bundle, "--html", str(page)], capsys)
    assert "is not a whole parity file" in line
    assert not page.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.parity"]


def test_a_missing_runtime_is_named_with_its_install_line(bundle, capsys, monkeypatch, tmp_path):
    saved = tmp_path / "r.parity"
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    line = refused([bundle, "--save-reference", str(saved), *FEW], capsys)
    assert "the onnx runtime needs onnxruntime: pip install awares-edge" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{bundle}"], "name a candidate, or --save-reference"),
        (["{bundle}", "nowhere"], "no such bundle, checkpoint or saved reference: nowhere"),
        (["nowhere", "{bundle}"], "no such bundle, checkpoint or saved reference: nowhere"),
        (["{reference}", "{bundle}", "--limit", "7"], "with --limit 6: leave --limit out"),
        (["{reference}", "--save-reference", "x"], "is a saved reference already"),
        (["{bundle}", "--save-reference", "x", "--html", "y"], "--html needs a candidate"),
        (["{reference}", "{reference}", "--endpoint", ""], "'' is not the address of a server"),
        (["{bundle}", "{bundle}", "--html", "/dev/null"], "cannot write /dev/null"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments, message, bundle, reference, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    filled = [part.format(bundle=bundle, reference=reference) for part in arguments]
    assert message in refused(filled, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_embedded_bundle_agrees_with_transformers(bundle, tmp_path, capsys):
    pytest.importorskip("transformers")
    checkpoint = tmp_path / "nano-checkpoint"
    shutil.copytree(CHECKPOINT, checkpoint)
    arguments = ["parity", str(checkpoint), bundle, "--protocol", "nano", "--limit", "60"]
    assert main([*arguments, "--max-drift", "1e-4", "--min-answers", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["candidates"][0]
    assert found["reference"]["runtime"] == "torch"
    assert found["decisions"]["same"]["share"] == 1.0
