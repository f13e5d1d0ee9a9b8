"""The main job on real input: the embedded model answers the packaged pictures."""

import json
from pathlib import Path

import pytest
from PIL import Image

import awares_edge
from awares_edge.apps.cli import main
from awares_edge.apps.demo import load_samples
from awares_edge.evaluation.answers import is_right

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "nano"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """What `demo --json` prints, and the picture it draws."""
    import contextlib
    import io

    picture = tmp_path_factory.mktemp("demo") / "demo.png"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["demo", "--json", "--output", str(picture)]) == 0
    with Image.open(picture) as image:
        assert min(image.size) > 600
    return json.loads(out.getvalue())


def test_every_sample_is_answered_and_accounted_for(rows):
    assert [row["image"] for row in rows] == [sample.path.name for sample in load_samples()]
    for row in rows:
        tokens = row["visual_tokens"]
        assert row["answer"]
        assert row["rtr"] == pytest.approx((tokens["low"] + tokens["crops"]) / tokens["full"])
        assert row["timings_ms"]["total"] > 0
        assert row["runtime"] == "onnx"


def test_some_samples_are_answered_directly_and_some_after_a_closer_look(rows):
    assert {bool(row["crops"]) for row in rows} == {True, False}
    for row in rows:
        assert row["reused_tokens"][0] > 0
        if row["crops"]:
            before = row["reused_tokens"][0] + row["prefill_tokens"][0]
            assert row["reused_tokens"][1] > before


def test_most_answers_are_right(rows):
    right = sum(is_right(row["answer"], row["expected"]) for row in rows)
    assert right >= len(rows) - 1


def test_the_embedded_bundle_decides_and_answers_as_its_checkpoint_does(rows):
    pytest.importorskip("torch")
    with awares_edge.load(CHECKPOINT, runtime="torch", protocol="nano") as reference:
        for sample, row in zip(load_samples(), rows, strict=True):
            answer = reference.ask(sample.path, sample.question)
            assert [crop.id for crop in answer.crops] == row["crops"]
            assert answer.text == row["answer"]


def test_people_read_a_few_lines_a_picture(tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path / "x.png")]) == 0
    printed = capsys.readouterr()
    assert "zoomed" in printed.out
    assert "direct" in printed.out
    assert "mean RTR" in printed.err


def test_the_embedded_bundle_verifies(capsys):
    assert main(["inspect", "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["verified"] is True
    assert manifest["protocol"]["name"] == "nano"
    assert sum(entry["bytes"] for entry in manifest["files"].values()) < 14e6


def test_the_sheet_is_written_with_its_key_and_asks_no_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("awares_edge.apps.options.load", None)
    path = tmp_path / "sheet.pdf"
    command = ["demo", "--sheet", str(path), "--pages", "2", "--seed", "3"]
    assert main([*command, "--json"]) == 0
    key = json.loads(capsys.readouterr().out)
    assert [(row["page"], row["family"]) for row in key] == [(1, "scene"), (2, "chart")]
    data = path.read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.count(b"/Type /Page\n") == 3  # the key is the last
    assert main(command) == 0  # a file that is there is replaced
    printed = capsys.readouterr()
    assert path.read_bytes() == data
    for row in key:
        for asked in row["questions"]:
            assert f"{asked['question']}  {asked['answer']}" in printed.out
    assert "2 pages and the answer key" in printed.err
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.pdf"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--pages", "3"], "--pages is for the sheet: give --sheet too"),
        (["--seed", "0"], "--seed is for the sheet: give --sheet too"),
        (["--paper", "letter"], "--paper is for the sheet: give --sheet too"),
        (["--sheet", "s.pdf", "-o", "x.png"], "--output is not used with --sheet"),
        (["--sheet", "s.pdf", "--bundle", "b"], "--bundle is not used with --sheet"),
        (["--sheet", "s.pdf", "--pages", "25"], "'--pages'"),
    ],
)
def test_options_of_the_sheet_and_of_the_samples_are_not_mixed(
    options, reason, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *options]) == 2
    printed = capsys.readouterr()
    assert reason in printed.err
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []
