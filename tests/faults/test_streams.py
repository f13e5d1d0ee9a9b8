"""Standard streams that are closed, full, without a reader, or of another character set."""

import json
import shutil

import pytest

import awares_edge
from awares_edge.bundle import Bundle
from awares_edge.spec import MANIFEST_NAME
from tests.faults.conftest import shell

LOST = "the result could not be written to standard output: "
EXPORT = "$A export $NANO -o bundle --protocol nano"

CASES = {
    "answer, closed": ("$A ask $P ? >&-", 2, f"{LOST}Bad file descriptor"),
    "JSON, full": ("$A ask $P ? --json >/dev/full", 2, f"{LOST}No space left"),
    "JSON, no reader": ("set -o pipefail; $A ask $P ? --json | head -c0", 0, ""),
    "stream, no reader": ("set -o pipefail; $A ask $P ? --stream | head -c0", 0, ""),
    "errors, closed": ("$A ask $P ? 2>&-", 0, ""),
    "failure, all closed": ("$A ask none.png ? >&- 2>&- <&-", 2, ""),
    "usage, closed": ("$A ask >&-", 2, "Missing argument"),
    "help, closed": ("$A --help >&-", 2, LOST),
}
SLOW = {
    "JSON, closed": ("$A ask $P ? --json >&-", 2, f"{LOST}Bad file descriptor"),
    "stream, full": ("$A ask $P ? --stream >/dev/full", 2, f"{LOST}No space left"),
    "errors, full": ("$A ask $P ? 2>/dev/full", 0, ""),
    "failure, errors closed": ("$A ask none.png ? 2>&-", 2, ""),
    "help, no reader": ("set -o pipefail; $A --help | head -c0", 0, ""),
    "version, full": ("$A --version >/dev/full", 2, LOST),
    **{
        f"{command.split()[0]}, {where}": (f"set -o pipefail; $A {command} {redirect}", code, said)
        for command in ("demo -o out.png", "runtimes", "inspect", "evaluate synth --limit 2 --json")
        for where, redirect, code, said in (
            ("closed", ">&-", 2, LOST),
            ("full", ">/dev/full", 2, LOST),
            ("no reader", "| head -c0", 0, ""),
            ("all closed", ">&- 2>&- <&-", 2, ""),
        )
    },
}


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        *(pytest.param(*case, id=name) for name, case in CASES.items()),
        *(pytest.param(*case, id=name, marks=pytest.mark.slow) for name, case in SLOW.items()),
    ],
)
def test_a_stream_that_fails_costs_no_traceback(line, code, said, tmp_path):
    done = shell(line, tmp_path).check(code)
    assert said in done.err
    if code == 0:
        assert "awares-edge:" not in done.err
    if " demo " in line:
        assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_an_export_that_cannot_say_so_leaves_its_bundle(tmp_path):
    pytest.importorskip("onnx")
    done = shell(f"{EXPORT} >&- 2>&- <&-", tmp_path).check(2)
    assert (done.out, done.err) == (b"", "")
    Bundle.open(tmp_path / "bundle")
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_outcomes_and_views_are_kept_though_nobody_reads(tmp_path):
    shell("set -o pipefail; $A ask $P ? --save-view a.png | head -c0", tmp_path).check(0)
    line = "$A evaluate synth --limit 2 --save b.jsonl --json >/dev/full"
    shell(line, tmp_path).check(2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.jsonl"]
    assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 2


LOCALES = [
    {"PYTHONIOENCODING": "ascii"},
    pytest.param({"PYTHONIOENCODING": "latin-1"}, marks=pytest.mark.slow),
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


@pytest.mark.parametrize("environment", LOCALES, ids=str)
def test_every_character_set_is_enough(environment, tmp_path):
    line = "$A demo -o é.png && $A --help && $A inspect 猫é"
    done = shell(line, tmp_path, environment).check(2)
    assert b"6 of 6" in done.out or "6 of 6" in done.err
    assert "awares-edge: no such bundle: " in done.err
    assert b"X50 ok" in done.out
    assert b"+- Commands --" in done.out


@pytest.mark.parametrize("environment", LOCALES, ids=str)
def test_json_is_json_in_every_character_set(environment, tmp_path):
    shutil.copytree(awares_edge.embedded_bundle(), tmp_path / "bundle")
    path = tmp_path / "bundle" / MANIFEST_NAME
    body = json.loads(path.read_text())
    body["provenance"] = {"checkpoint": "猫é\U0001f600"}
    path.write_text(json.dumps(body))
    done = shell("$A inspect bundle --json", tmp_path, environment).check(0)
    encoding = environment.get("PYTHONIOENCODING", "ascii")
    assert json.loads(done.out.decode(encoding))["provenance"] == body["provenance"]
