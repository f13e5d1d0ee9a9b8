"""`awares-edge evaluate synth`: its report, and its picture."""

import json

import pytest
from PIL import Image

import awares_edge
from awares_edge import extras
from awares_edge.apps import options
from awares_edge.apps.cli import main
from awares_edge.evaluation import plot


@pytest.fixture
def asked(monkeypatch):
    """A model that answers every question with "red"; the calls that loaded it."""
    loads = []

    def load(*arguments, protocol=None, **_):
        loads.append(arguments)
        return awares_edge.scripted(["red"] * 100, protocol=protocol or "nano")

    monkeypatch.setattr(options, "load", load)
    return loads


def test_json_carries_accuracy_and_its_interval(asked, capsys):
    assert main(["evaluate", "synth", "--limit", "6", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    low, high = report["accuracy_ci"]
    assert report["questions"] == 6
    assert 0 <= low <= report["accuracy"] <= high <= 1


def test_what_has_no_share_is_null_and_blank(asked, capsys):
    assert main(["evaluate", "synth", "--limit", "6", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["call_precision"] is report["valid_calls"] is None
    assert report["call_recall"] == 0.0
    assert main(["evaluate", "synth", "--limit", "6"]) == 0
    titles, row, *_ = capsys.readouterr().out.splitlines()
    # Right-aligned: nothing stands under these titles.
    for title in ("prec.", "valid"):
        end = titles.index(title) + len(title)
        assert row[end - len(title) : end].strip() == ""
    end = titles.index("recall") + len("recall")
    assert row[:end].endswith(" 0.000")


def test_the_picture_says_model_split_and_number_of_questions(asked, monkeypatch, tmp_path, capsys):
    drawn = []
    monkeypatch.setattr(plot, "check", lambda path: None)
    monkeypatch.setattr(plot, "draw", lambda *arguments: drawn.append(arguments))
    path = tmp_path / "rtr.png"
    arguments = ["evaluate", "synth", "--limit", "6", "--mode", "low", "--mode", "full"]
    options = ["--split", "validation", "--control", "blank", "--picture", str(path)]
    assert main([*arguments, *options]) == 0
    [(results, where, title)] = drawn
    assert [r["mode"] for r in results] == ["low", "full"]
    assert where == path
    assert title == (
        "embedded nano model: synthetic suite, validation split, blank pictures, 6 questions"
    )
    assert "picture written to" in capsys.readouterr().err


def test_a_picture_of_all_modes_is_drawn(asked, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "rtr.png"
    arguments = ["evaluate", "synth", "--limit", "6", "--all-modes", "--picture", str(path)]
    assert main([*arguments, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_a_missing_matplotlib_is_said_before_the_first_question(
    asked, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert main(["evaluate", "synth", "--picture", str(tmp_path / "rtr.png")]) == 2
    assert "pip install 'matplotlib>=3.9'" in capsys.readouterr().err
    assert asked == []
