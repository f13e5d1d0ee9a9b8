"""`awares-edge evaluate synth`: its report, and its picture."""

import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

import awares_edge
from awares_edge import extras
from awares_edge.apps import options
from awares_edge.apps.cli import main
from awares_edge.apps.console import print_json
from awares_edge.apps.evaluate import synth
from awares_edge.errors import InputError
from awares_edge.evaluation import plot
from awares_edge.evaluation.modes import MODES
from awares_edge.evaluation.report import Report
from awares_edge.runtimes import threads


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


@pytest.fixture
def drawable(monkeypatch):
    """As if matplotlib were installed."""
    monkeypatch.setattr(extras, "find_spec", lambda _: object())


def test_outcomes_are_saved_whole(asked, tmp_path, capsys):
    path = tmp_path / "new" / "outcomes.jsonl"
    arguments = ["evaluate", "synth", "--limit", "6", "--mode", "low", "--mode", "full"]
    assert main([*arguments, "--save", str(path)]) == 0
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["mode"] for row in rows] == ["low"] * 6 + ["full"] * 6
    assert {row["answer"] for row in rows} == {"red"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert "outcomes written to" in capsys.readouterr().err


def test_an_error_leaves_the_old_outcomes(asked, monkeypatch, tmp_path):
    path = tmp_path / "old.jsonl"
    path.write_text("old")
    monkeypatch.setattr(options, "load", awares_edge.load)
    arguments = ["evaluate", "synth", "--save", str(path)]
    assert main([*arguments, "--bundle", str(tmp_path / "missing")]) == 2

    def fail(*_, **__):
        raise InputError("half way")

    monkeypatch.setattr(synth, "evaluate", fail)
    assert main(arguments) == 2
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("option", ["--save", "--picture"])
def test_what_cannot_be_written_is_said_before_the_first_question(
    option, asked, drawable, tmp_path, capsys
):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "file")
    bad = [tmp_path / "file" / "x.png", tmp_path / "folder.png", link]
    if Path("/proc/self").exists():
        bad.append(Path("/proc/x.png"))
    for path in bad:
        assert main(["evaluate", "synth", option, str(path)]) == 2
        assert f"cannot write {path}" in capsys.readouterr().err
    assert asked == []
    assert link.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png", "link.png"]


def test_results_are_printed_though_files_fail(asked, drawable, monkeypatch, tmp_path, capsys):
    def fail(*_):
        raise InputError("no space left")

    arguments = ["evaluate", "synth", "--limit", "6", "--json"]
    monkeypatch.setattr(plot, "draw", fail)
    assert main([*arguments, "--picture", str(tmp_path / "rtr.png")]) == 2
    monkeypatch.setattr(synth, "_save", fail)
    assert main([*arguments, "--save", str(tmp_path / "outcomes.jsonl")]) == 2
    printed = capsys.readouterr()
    assert [json.loads(line)["questions"] for line in printed.out.splitlines()] == [6, 6]
    assert printed.err.count("no space left") == 2


def test_outcomes_are_saved_though_the_reader_has_gone(asked, monkeypatch, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writer, "w"))
    path = tmp_path / "outcomes.jsonl"
    assert main(["evaluate", "synth", "--limit", "6", "--json", "--save", str(path)]) == 0
    assert len(path.read_text().splitlines()) == 6


@pytest.mark.parametrize("columns", ["80", "40"])
def test_the_table_loses_no_digit_and_fits_80_columns(columns, asked, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    measured = Report.to_dict
    shares = {"accuracy_needs_zoom": 0.1234, "call_precision": 0.1234, "valid_calls": 0.1234}
    monkeypatch.setattr(
        Report, "to_dict", lambda report: {**measured(report), **shares, "ms_p50": 123456.78}
    )
    assert main(["evaluate", "synth", "--limit", "6", "--all-modes"]) == 0
    titles, *rows = capsys.readouterr().out.splitlines()
    known = "mode right RTR direct small other recall prec. crop valid ms"
    assert " ".join(titles.split()) == known
    assert [row.split()[0] for row in rows] == list(MODES)
    for line in [titles, *rows]:
        assert len(line) <= 80
        assert "…" not in line
        assert line is titles or line.split().count("0.123") == 3
        assert line is titles or line.endswith(" 123456.8")


@pytest.mark.parametrize(
    "option",
    [
        ["--seed", "-1"], ["--seed", "nan"], ["--limit", "0"], ["--limit", "-1"],
        ["--threads", "0"], ["--threads", "-1"], ["--threads", "9" * 30],
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_used_are_told_by_their_option(option, asked, capsys):
    assert main(["evaluate", "synth", "--json", *option]) == 2
    printed = capsys.readouterr()
    assert f"Invalid value for '{option[0]}'" in printed.err
    assert printed.out == ""
    assert asked == []


@pytest.mark.parametrize(
    "command", [["evaluate", "synth"], ["ask", "x.png", "?"], ["demo"], ["train", "curate", "x"]]
)
def test_threads_are_bounded_by_the_cores(command, asked, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    assert main([*command, "--threads", "9"]) == 2
    assert "between 1 and 8 (4 for each core)" in capsys.readouterr().err
    assert main(["evaluate", "synth", "--limit", "6", "--threads", "8"]) == 0


def test_a_huge_seed_is_a_seed(asked, capsys):
    assert main(["evaluate", "synth", "--limit", "6", "--seed", "9" * 30, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"] == 6


def test_control_characters_of_names_do_not_reach_the_terminal(
    asked, drawable, monkeypatch, tmp_path, capsys
):
    titles = []
    monkeypatch.setattr(plot, "draw", lambda results, path, title: titles.append(title))
    bundle, save, picture = (tmp_path / f"a\x1b[2J\x9b{end}" for end in ("", ".jsonl", ".png"))
    arguments = ["evaluate", "synth", "--limit", "6", "--bundle", str(bundle)]
    assert main([*arguments, "--save", str(save), "--picture", str(picture)]) == 0
    printed = capsys.readouterr()
    # matplotlib would repeat them in a warning.
    for text in (*titles, printed.err):
        assert r"a\x1b[2J\x9b" in text
    for text in (*titles, printed.out, printed.err):
        assert "\x1b" not in text
        assert "\x9b" not in text


def test_json_escapes_what_a_terminal_would_obey_and_loses_nothing(capsys):
    # C1 controls and lone surrogates, which json itself lets through.
    row = {"answer": "é 猫 \x1b[2J \x7f \x9b2J \u2028 \ud800 \U000e0001"}
    print_json(row)
    [line] = capsys.readouterr().out.split("\n")[:-1]
    assert line.isprintable()
    assert "é 猫" in line
    assert json.loads(line) == row


def test_captured_sheets_are_asked_about_and_refused_ones_are_told(asked, monkeypatch, capsys):
    pytest.importorskip("cv2")
    from awares_edge.camera.sheet import captured
    from awares_edge.camera.sheet.rectify import NoPage, page_in

    pages = []

    def every_other(frame):
        pages.append(frame)
        return page_in(frame) if len(pages) % 2 else NoPage("2 of 4 markers found", 2)

    monkeypatch.setattr(captured, "page_in", every_other)
    command = ["evaluate", "synth", "--capture", "mild", "--limit", "12", "--json"]
    assert main(command) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["questions"] == report["refused"] == 6
    assert report["refusals"] == {"2 of 4 markers found": 6}
    assert report["accuracy_of_all"] == pytest.approx(report["accuracy"] / 2, abs=1e-4)
    assert "awares: 6 questions not asked: 2 of 4 markers found" in printed.err


def test_without_rectification_nothing_is_refused_and_opencv_is_not_needed(
    asked, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "cv2", None)
    command = ["evaluate", "synth", "--capture", "strong", "--no-rectify", "--limit", "6", "--json"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["questions"] == 6
    assert "refused" not in report


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["synth", "--no-rectify"], "--no-rectify is for captured sheets: give --capture too"),
        (["chartqa", "--capture", "mild"], "--capture is for synth: leave it out"),
        (["synth", "--capture", "foggy"], "'--capture'"),
    ],
)
def test_options_of_captures_are_refused_where_they_would_do_nothing(
    command, reason, asked, capsys
):
    assert main(["evaluate", *command]) == 2
    assert reason in capsys.readouterr().err
    assert asked == []


def test_captures_that_cannot_be_read_here_are_refused_before_the_model_is_loaded(
    asked, monkeypatch, capsys
):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert main(["evaluate", "synth", "--capture", "mild"]) == 2
    assert "cv2: pip install 'awares-edge[camera]'" in capsys.readouterr().err
    assert asked == []
