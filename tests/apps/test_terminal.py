"""Untrusted text cannot command the terminal, whichever command prints it."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest

import awares_edge
from awares_edge.apps import console
from awares_edge.apps.cli import main
from awares_edge.calibration.stored import store
from awares_edge.spec import MANIFEST_NAME

HOSTILE = "evil\x1b[2J\x1b]8;;http://x\x07\x9b[bold red]\n\r\u202eexe.\u2066\u2028[/]:smile:"
SHOWN = r"evil\x1b[2J\x1b]8;;http://x\x07\x9b[bold red]\n\r\u202eexe.\u2066\u2028[/]:smile:"


def is_safe(text):
    """Only printable characters and line ends."""
    return all(c == "\n" or unicodedata.category(c)[0] not in "C" for c in text) and not (
        set(text) & {"\u2028", "\u2029"}
    )


@pytest.fixture
def hostile_bundle(tmp_path):
    """The embedded bundle with hostile text wherever its manifest takes text."""
    root = tmp_path / "bundle"
    shutil.copytree(awares_edge.embedded_bundle(), root)
    store(awares_edge.Bundle.open(root), decision_bias=1.0, decision_goal=HOSTILE)
    path = root / MANIFEST_NAME
    body = json.loads(path.read_text())
    body["model"].update(name=HOSTILE, license=HOSTILE)
    body["provenance"] = {HOSTILE: HOSTILE, "bundle": HOSTILE}
    path.write_text(json.dumps(body))
    return root


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.chdir(tmp_path)


def test_printable_escapes_what_commands_and_keeps_what_languages_need():
    assert console.printable(HOSTILE) == SHOWN
    assert console.printable("a\nb\tc\x00", keep="\n\t") == "a\nb\tc\\x00"
    assert console.printable("\udcff\U000e0001\ue000") == r"\udcff\U000e0001\ue000"
    kept = "né 猫\u00a0\u3000می\u200cخواهم क\u094d\u200dष 😀"
    assert console.printable(kept) == kept


def test_inspect_shows_names_as_they_are_spelled(hostile_bundle, capsys):
    code = main(["inspect", str(hostile_bundle)])
    printed = capsys.readouterr()
    assert is_safe(printed.out + printed.err)
    assert SHOWN in printed.out + printed.err
    if code == 0:  # a reader may also refuse such names
        assert f"{SHOWN} ({SHOWN})" in printed.out
        assert f"+1.000, fitted to {SHOWN} on" in printed.out
        # Provenance adds rows and replaces none.
        assert str(hostile_bundle) in printed.out


COMMANDS = [
    ["ask", "{picture}", "?", "--bundle", "{bundle}"],
    ["ask", "{picture}", "?", "--bundle", "{bundle}", "--stream"],
    ["ask", "{picture}", "?", "--bundle", "{bundle}", "--json"],
    ["ask", "{picture}", "?", "--bundle", "{bundle}", "--runtime", "llamacpp"],
    ["ask", "{picture}", "?", "--bundle", "{bundle}", "--runtime", "torch"],
    ["demo", "--bundle", "{bundle}"],
    ["camera", "--terminal", "-q", "?", "--count", "1", "--bundle", "{bundle}"],
    ["camera", "--terminal", "--source", "{bundle}"],
    ["inspect", "{bundle}"],
    ["inspect", "{bundle}", "--json"],
    ["runtimes"],
    ["export", "{bundle}", "-o", "out"],
    ["export", "{bundle}", "-o", "{bundle}"],
    ["build-engine", "{bundle}"],
    ["calibrate", "weights", "{bundle}", "-o", "out.safetensors"],
    ["calibrate", "times", "{bundle}", "-o", "out.json"],
    ["calibrate", "decisions", "{bundle}", "--reference", "{bundle}/none", "--limit", "100"],
    ["calibrate", "confidence", "{bundle}", "--limit", "2"],
    ["evaluate", "synth", "--bundle", "{bundle}", "--limit", "2", "--save", "out.jsonl"],
    ["evaluate", "synth", "--bundle", "{bundle}", "--limit", "2", "-o", "results"],
    ["evaluate", "{bundle}", "-o", "results"],
    ["evaluate", "{bundle}.jsonl", "-o", "results"],
    ["evaluate", "chartqa", "--data", "{bundle}"],
    ["evaluate", "--compare", "{bundle}", "{bundle}"],
    ["evaluate", "--merge", "{bundle}", "-o", "results"],
    ["train", "curate", "{bundle}", "-o", "out.jsonl", "--count", "2"],
    ["train", "convert", "{bundle}/none.jsonl", "--format", "trl", "-o", "out"],
    ["train", "sft", "{bundle}", "{bundle}/none.jsonl", "-o", "out"],
    ["train", "grpo", "{bundle}", "{bundle}/none.jsonl", "-o", "out"],
    ["train", "average", "{bundle}", "{bundle}", "-o", "out"],
    ["train", "nano", "--from", "{bundle}", "-o", "out"],
]
MANIFEST_READERS = [c for c in COMMANDS if c[0] not in ("runtimes", "train") and "weights" not in c]


def run(command, bundle, capfd):
    # The folder's own name is hostile too.
    named = bundle.rename(bundle.with_name(HOSTILE.replace("/", "")))
    picture = Path(awares_edge.embedded_bundle()).parent / "samples" / "sign.png"
    code = main([a.format(bundle=named, picture=picture) for a in command])
    printed = capfd.readouterr()
    assert code in (0, 2)
    assert is_safe(printed.out + printed.err), printed
    if code == 2:
        assert printed.err.startswith("awares-edge: ")
        assert printed.err.count("\n") == 1, printed.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_passes_on_what_a_bundle_says(command, hostile_bundle, capfd):
    run(command, hostile_bundle, capfd)


@pytest.mark.parametrize("command", MANIFEST_READERS, ids=" ".join)
@pytest.mark.parametrize("field", ["runtime", "precision", "files", "protocol", "unknown"])
def test_no_error_passes_on_what_a_bundle_says(command, field, hostile_bundle, capfd):
    path = hostile_bundle / MANIFEST_NAME
    body = json.loads(path.read_text())
    if field == "files":
        body["files"][HOSTILE] = {"bytes": 1, "sha256": HOSTILE}
    elif field == "protocol":
        body["protocol"].update(name=HOSTILE, box_rule=HOSTILE)
    elif field == "unknown":
        body[HOSTILE] = HOSTILE
    else:
        body[field] = HOSTILE
    path.write_text(json.dumps(body))
    run(command, hostile_bundle, capfd)


def test_an_answer_is_shown_as_text_and_not_as_markup(monkeypatch, capsys):
    from awares_edge.apps import options

    def load(*_, **__):
        return awares_edge.scripted([HOSTILE] * 100)

    monkeypatch.setattr(options, "load", load)
    assert main(["demo"]) == 0
    printed = capsys.readouterr()
    assert is_safe(printed.out + printed.err)
    assert printed.out.count(SHOWN) == 6


@pytest.mark.parametrize("tell", [console.say, console.note, console.warn, console.show_answer])
def test_every_way_to_print_a_line_escapes_it(tell, capsys):
    tell(HOSTILE)
    printed = capsys.readouterr()
    assert is_safe(printed.out + printed.err)
    assert "[bold red]" in printed.out + printed.err
