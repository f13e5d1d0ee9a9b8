"""Commands that are stopped or killed at any moment: no traceback, nothing half-written."""

import json
import os
import signal

import pytest

import awares_edge
from awares_edge.apps import cli
from awares_edge.bundle import Bundle
from awares_edge.files import whole_folder
from tests.faults.conftest import (
    NANO,
    SIGNALS,
    duration,
    entries,
    finish,
    leftovers,
    moments,
    start,
    stop,
)

EXPORT = ["export", NANO, "--protocol", "nano", "-o"]
EVALUATE = ["evaluate", "synth", "--limit", "200", "--save"]
CURATE = ["train", "curate", awares_edge.embedded_bundle(), "--count", "60", "-o"]


def check_bundle(folder, path):
    """The bundle is whole, or not there; nothing else is."""
    assert leftovers(folder) == []
    if path.exists():
        Bundle.open(path)
    assert {p.name for p in folder.iterdir()} <= {path.name}


def test_a_signal_that_python_wraps_is_still_one(monkeypatch, capsys):
    """Python 3.11 turns what a handler raises inside `__set_name__` into a RuntimeError."""

    class Field:
        def __set_name__(self, owner, name):
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # the handler runs between two instructions
                pass

    def command(*_, **__):
        type("Owner", (), {"field": Field()})

    monkeypatch.setattr(cli, "app", command)
    assert cli.main(["runtimes"]) == 143
    assert capsys.readouterr().err == "awares-edge: terminated\n"


@pytest.mark.parametrize("module", ["numpy", "typer", "tokenizers", "awares_edge.apps.evaluate"])
def test_ctrl_c_during_the_imports_is_one_line(module, tmp_path):
    """Sent as soon as Python reports that it has imported the module."""
    process = start(["runtimes"], tmp_path, {"PYTHONPROFILEIMPORTTIME": "1"})
    said = b""
    for line in process.stderr:
        said += line
        if line.split(b"|")[-1].strip().decode() == module:
            process.send_signal(signal.SIGINT)
            break
    done = finish(process)
    done.err = "".join(
        line
        for line in (said.decode() + done.err).splitlines(keepends=True)
        if not line.startswith("import time:")
    )
    assert done.check(130).err == "awares-edge: interrupted\n"


def test_every_signal_ends_an_export_in_order(tmp_path):
    pytest.importorskip("onnx")
    whole = duration([*EXPORT, "warm"], tmp_path)
    for number, code in SIGNALS.items():
        (folder := tmp_path / number.name).mkdir()
        process = start([*EXPORT, "bundle"], folder)
        while process.poll() is None and not leftovers(folder):
            pass
        done = stop(process, number, 0.05 * whole)
        # Where the export was faster it is complete; between its end and Python's, plain death.
        done.check(code, 0, -number)
        check_bundle(folder, folder / "bundle")


def test_a_stopped_command_says_so_and_keeps_the_old_file(tmp_path):
    (tmp_path / "old.jsonl").write_text("old")
    process = start([*EVALUATE[:-2], "100000", "--save", "old.jsonl", "--json"], tmp_path)
    done = stop(process, signal.SIGTERM, 3)
    assert done.check(143, -signal.SIGTERM).out == b""
    assert done.code != 143 or done.err == "awares-edge: terminated\n"
    assert (tmp_path / "old.jsonl").read_text() == "old"
    assert entries(tmp_path) == {"old.jsonl"}


def test_signals_during_clean_up_do_not_interrupt_it(tmp_path, monkeypatch):
    """As Ctrl-C at the worst moment: while the temporary folder is being removed."""
    import shutil

    real, calls = shutil.rmtree, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        real(*arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted)

    def fail():
        with whole_folder(tmp_path / "a") as folder:
            (folder / "x").touch()
            raise ValueError

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert entries(tmp_path) == set()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_export_killed_at_any_moment_leaves_a_whole_bundle_or_none(number, overwrite, tmp_path):
    pytest.importorskip("onnx")
    whole = duration([*EXPORT, "bundle"], tmp_path)
    (tmp_path / "bundle").rename(tmp_path.with_name(f"{tmp_path.name}-old"))
    ended = set()
    for index, moment in enumerate(moments(6, whole)):
        (folder := tmp_path / str(index)).mkdir()
        if overwrite:
            finish(start([*EXPORT, "bundle"], folder)).check(0)
        again = ["--overwrite"] if overwrite else []
        done = stop(start([*EXPORT, "bundle", *again], folder), number, moment)
        ended.add(done.code)
        # Before our first line runs, Python reports Ctrl-C by itself.
        if number is not signal.SIGINT or "awares-edge" in done.err:
            done.check(0, -number, SIGNALS.get(number))
        if number is signal.SIGKILL:
            assert all(".awares-edge." in p.name for p in folder.iterdir() if p.name != "bundle")
            if (folder / "bundle").exists():
                Bundle.open(folder / "bundle")
            else:
                assert not overwrite or list(folder.glob(".awares-edge.*.old/folder"))
        else:
            check_bundle(folder, folder / "bundle")
            assert not overwrite or (folder / "bundle").exists()
    assert ended != {0}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_outcomes_are_the_old_or_the_new_ones(number, tmp_path):
    whole = duration([*EVALUATE, "a.jsonl"], tmp_path)
    for moment in moments(5, whole):
        (tmp_path / "a.jsonl").write_text("old\n")
        stop(start([*EVALUATE, "a.jsonl"], tmp_path), number, moment).check(
            0, -number, SIGNALS.get(number)
        )
        lines = (tmp_path / "a.jsonl").read_text().splitlines()
        assert lines == ["old"] or len([json.loads(line) for line in lines]) == 200
        assert number is signal.SIGKILL or entries(tmp_path) == {"a.jsonl"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_curation_goes_on_after_every_kill(number, tmp_path):
    for name in ("torch", "transformers", "accelerate", "peft", "matplotlib"):
        pytest.importorskip(name)
    whole = duration([*CURATE, "whole.jsonl"], tmp_path)
    for moment in moments(5, whole):
        stop(start([*CURATE, "cut.jsonl"], tmp_path), number, moment).check(
            0, -number, SIGNALS.get(number)
        )
    finish(start([*CURATE, "cut.jsonl"], tmp_path)).check(0)
    rows = [(tmp_path / f"{name}.jsonl").read_text() for name in ("whole", "cut")]
    assert rows[0] == rows[1]
    ends = ("", ".run.json", ".skipped.json")
    names = {f"{name}.jsonl{end}" for name in ("whole", "cut") for end in ends}
    assert {name for name in entries(tmp_path) if ".awares-edge." not in name} == names
