"""`awares-edge evaluate` with results in a folder: what it writes, prints and refuses."""

import json

import pytest

pytest.importorskip("pyarrow")

import awares_edge
from awares_edge import extras
from awares_edge.apps import options
from awares_edge.apps.cli import main
from awares_edge.evaluation.benchmarks import BENCHMARKS
from tests.support import published


@pytest.fixture(autouse=True)
def asked(monkeypatch, tmp_path):
    """A model that answers every question with "yes"; the calls that loaded it."""
    loads = []

    def load(*arguments, **_):
        loads.append(arguments)
        return awares_edge.scripted(["yes"] * 400)

    monkeypatch.setattr(options, "load", load)
    monkeypatch.chdir(tmp_path)
    return loads


@pytest.fixture
def data(tmp_path):
    published.write_all(tmp_path / "data", 4)
    return tmp_path / "data"


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments)])


def refused(capsys, *arguments):
    """The one line of a refusal."""
    capsys.readouterr()
    assert evaluate(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.splitlines()
    return line


def test_all_six_are_measured_in_one_table(data, tmp_path, capsys):
    assert evaluate("all", "--data", data, "--modes", "awares,full", "-o", "out") == 0
    printed = capsys.readouterr()
    titles, *rows = printed.out.splitlines()
    assert titles.split() == [
        "mode",
        "score",
        "low",
        "high",
        "paper",
        "RTR",
        "direct",
        "valid",
        "rows",
        "failed",
        "ms",
    ]
    assert [row.split()[:2] for row in rows[:12]] == [
        [name, mode] for name in BENCHMARKS for mode in ("awares", "full")
    ]
    assert rows[12].startswith("mean of 6, awares: ")
    assert "results written to out" in printed.err
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {
        "summary.json", "summary.md", "timing.json", "settings.json", *BENCHMARKS,
    }  # fmt: skip
    assert {p.name for p in (tmp_path / "out" / "pope" / "full").iterdir()} == {
        "rows.jsonl", "settings.json", "gallery.html",
    }  # fmt: skip


def test_json_is_the_summary_and_the_times(data, tmp_path, capsys):
    assert evaluate("pope", "--data", data, "-o", "out", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    timing = printed.pop("timing")
    assert printed == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert timing[0]["ms_p50"] >= 0
    assert printed["runs"][0]["questions"] == 4


def test_a_second_run_into_a_folder_must_say_that_it_goes_on(data, capsys, asked):
    assert evaluate("pope", "--data", data) == 0
    line = refused(capsys, "pope", "--data", data)
    assert "awares-evaluation has a run of pope awares: continue it (--resume)" in line
    assert len(asked) == 1
    assert evaluate("pope", "--data", data, "--resume") == 0
    # Another benchmark joins the same table.
    assert evaluate("vstar", "--data", data) == 0
    capsys.readouterr()
    assert evaluate("vstar", "--data", data, "--resume") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]] == [
        "pope", "vstar",
    ]  # fmt: skip


def test_another_scorer_is_another_run(data, capsys):
    assert evaluate("pope", "--data", data, "--scorer", "0.6.1") == 0
    assert "another scorer" in refused(capsys, "pope", "--data", data, "--resume")


def test_failed_rows_are_named_and_the_exit_code_says_so(tmp_path, capsys):
    rows = published.rows("pope", 30)
    for row in rows[:25]:
        row["image"]["bytes"] = b"x"
    published.write(tmp_path / "data", "pope", rows)
    assert evaluate("pope", "--data", "data", "-o", "out") == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].split()[-3:-1] == ["5", "25"]
    lines = printed.err.splitlines()
    assert sum("out/pope/awares: row" in line for line in lines) == 20
    assert "and 5 more" in lines[-2]
    assert lines[-1] == "awares-edge: 25 rows failed and are not part of the scores"
    assert (tmp_path / "out" / "summary.md").exists()


def test_nothing_answered_is_no_score(tmp_path, capsys):
    rows = [{**row, "image": None} for row in published.rows("pope", 2)]
    published.write(tmp_path / "data", "pope", rows)
    assert evaluate("pope", "--data", "data", "-o", "out", "--json") == 2
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert (run["score"], run["rtr"], run["failed"]) == (None, None, 2)


def test_shards_are_merged(data, tmp_path, capsys):
    for i in (1, 2):
        assert evaluate("pope", "--data", data, "--shard", f"{i}/2", "-o", f"out-{i}") == 0
    assert evaluate("--merge", "out-1", "--merge", "out-2", "-o", "merged") == 0
    assert evaluate("pope", "--data", data, "-o", "whole") == 0
    for name in ("summary.json", "summary.md"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert "not complete: got 1/2" in refused(capsys, "--merge", "out-1", "-o", "again")


def test_two_folders_are_compared(data, capsys):
    assert evaluate("pope", "--data", data, "--modes", "full,low", "-o", "a") == 0
    assert evaluate("pope", "--data", data, "--modes", "low", "-o", "b") == 0
    capsys.readouterr()
    assert evaluate("--compare", "a", "b") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("pope (low), 4 questions, 0 left out")
    assert "McNemar p = 1" in printed
    assert evaluate("--compare", "a/pope/full", "a/pope/low", "--json") == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["first_mode"], found["second_mode"], found["p"]) == ("full", "low", 1.0)


def test_the_synthetic_suite_writes_a_folder_too(tmp_path, capsys):
    assert evaluate("synth", "--limit", 6, "-o", "out", "--json") == 0
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert (run["suite"], run["questions"], run["paper"]) == ("synth", 6, None)


def test_own_questions(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(published.picture(0))
    row = {"image": "a.png", "question": "Is it red?", "answers": ["Yes", "yes, it is"]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    assert evaluate("mine.jsonl", "-o", "out", "--json") == 0
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert (run["suite"], run["score"]) == ("own-mine", 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "3"], "name what to evaluate: chartqa"),
        (["textvqa"], "no benchmark 'textvqa'"),
        (["pope", "--data", "missing"], "no such folder: missing"),
        (["pope", "--data", "."], "no data/test-*.parquet in ."),
        (["all", "--data", "."], "no data/test-*.parquet in chartqa"),
        (["missing.jsonl"], "cannot read missing.jsonl"),
        (["missing.jsonl", "--data", "x"], "missing.jsonl is not published"),
        (["pope", "--seed", "0"], "--seed is for synth"),
        (["pope", "--family", "scene"], "--family is for synth"),
        (["pope", "--save", "x.jsonl"], "--save is not used"),
        (["pope", "--modes", "awares,sideways"], "no mode 'sideways'"),
        (["pope", "--modes", ""], "no mode ''"),
        (["pope", "--all-modes"], "and pope does not say: choose other modes"),
        (["pope", "--shard", "3/2"], "must have the form 1/4"),
        (["pope", "--scorer", "0.5"], "no scorer '0.5'"),
        (["synth", "--resume"], "--resume needs a folder for the results (-o)"),
        (["synth", "--data", "x"], "--data needs a folder"),
        (["synth", "--workers", "0"], "--workers needs a folder"),
        (["pope", "--compare", "a", "b"], "ask nothing"),
        (["--compare", "a", "b"], "a has no results of evaluate"),
        (["--merge", "a"], "--merge needs a new folder"),
        (["pope", "--mode", "low", "--all-modes"], "--all-modes measures every mode"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, data, asked, capsys):
    if arguments[:1] == ["pope"] and "--data" not in arguments and "--compare" not in arguments:
        arguments = [*arguments, "--data", "data"]
    assert message in refused(capsys, *arguments)
    assert asked == []


def test_missing_packages_are_named_with_their_install_line(monkeypatch, data, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    line = refused(capsys, "pope", "--data", data)
    assert "pip install 'awares-edge[evaluate]'" in line
    assert "rapidfuzz" in refused(capsys, "docvqa", "--data", data)
    assert "huggingface" in refused(capsys, "pope")
