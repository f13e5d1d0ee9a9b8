"""`awares-edge profile`: what it prints, writes and refuses."""

import json
from pathlib import Path

import pytest

from awares_edge import embedded_bundle, extras
from awares_edge.apps.cli import main
from tests.evaluation.pages import check_page

SHORT = ["--iterations", "2", "--warmup", "0", "--threads", "1", "--side", "224"]
CHECKPOINT = Path(__file__).resolve().parents[3] / "checkpoints" / "nano"


def refused(arguments, capsys):
    """The one line that says why."""
    assert main(["profile", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = [line for line in printed.err.splitlines() if line.startswith("awares-edge: ")]
    return line


def test_a_table_and_a_page(tmp_path, capsys):
    page = tmp_path / "profile.html"
    assert main(["profile", "--mode", "awares", *SHORT, "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert "limits, threads 1: fp32" in out
    assert "2: crop vision" in out
    assert "CPU governor" in out
    assert "nano" in check_page(page.read_text())


def test_json_is_one_object_and_can_be_compared(tmp_path, capsys):
    assert main(["profile", str(embedded_bundle()), "--mode", "low", *SHORT, "--json"]) == 0
    printed = capsys.readouterr()
    run = json.loads(printed.out)
    assert printed.err == ""
    assert [v["job"]["variant"]["mode"] for v in run["variants"]] == ["low"]
    path = tmp_path / "run.json"
    path.write_text(printed.out)
    assert main(["profile", "--compare", str(path), str(path)]) == 0
    assert "nano, low, question" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such bundle: nowhere"),
        ([str(CHECKPOINT)], "is a checkpoint: export it first, or name it as --reference"),
        (["--threads", "two"], "--threads must be a number or several"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--threads", "100000"], "threads must be between 1 and"),
        (["--max-pixels", "1,x"], "--max-pixels must be a number or several"),
        (["--mode", "fast"], "no mode 'fast'"),
        (["--mode", "reference"], "no mode 'reference'"),
        (["--crops", "9", "--mode", "awares", *SHORT], "not a set of crop ids: ['9']"),
        (["--html", "/dev/null"], "cannot write /dev/null"),
        (["--compare", "a.json", "b.json"], "cannot read a.json"),
        (["x", "--compare", "a.json", "b.json"], "--compare reads two files"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(arguments, capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_reference_needs_torch(capsys, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "torch" else name)
    line = refused(["--reference", str(CHECKPOINT), *SHORT], capsys)
    assert "the torch runtime needs torch: pip install 'awares-edge[torch]'" in line
