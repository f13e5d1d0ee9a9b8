"""Every option that names an output: only regular files, refused before the work begins."""

import os
from pathlib import Path

import pytest

import awares_edge
from awares_edge.apps import options
from awares_edge.apps.cli import main

NANO = str(Path(awares_edge.__file__).parents[1] / "checkpoints" / "nano")
SAMPLES = Path(awares_edge.__file__).parent / "assets" / "samples"

FILES = {
    "ask": ["ask", str(SAMPLES / "sign.png"), "?", "--save-view"],
    "demo": ["demo", "-o"],
    "sheet": ["demo", "--sheet"],
    "save": ["evaluate", "synth", "--limit", "2", "--save"],
    "picture": ["evaluate", "synth", "--limit", "2", "--picture"],
    "weights": ["calibrate", "weights", NANO, "-o"],
    "times": ["calibrate", "times", "bundle", "-o"],
    "reference": ["calibrate", "decisions", NANO, "--reference", NANO, "--save-reference"],
    "curate": ["train", "curate", "bundle", "--count", "2", "-o"],
}
FOLDERS = {
    "evaluate": ["evaluate", "synth", "--limit", "2", "-o"],
    "camera": ["camera", "--terminal", "--record"],
    "export": ["export", NANO, "-o"],
    "overwrite": ["export", NANO, "--overwrite", "-o"],
    "sft": ["train", "sft", NANO, "rows.jsonl", "-o"],
    "grpo": ["train", "grpo", NANO, "rows.jsonl", "-o"],
    "convert": ["train", "convert", "rows.jsonl", "--format", "trl", "-o"],
    "average": ["train", "average", NANO, NANO, "-o"],
}
NEEDS = {"weights": "torch", "picture": "matplotlib", "export": "onnx", "overwrite": "onnx"}


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """Nothing may be loaded before the output has been looked at."""

    def load(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(options, "load", load)


def needs(command):
    if command in ("curate", "sft", "grpo", "average"):
        for name in ("torch", "transformers", "accelerate", "peft", "matplotlib"):
            pytest.importorskip(name)
    elif command in NEEDS:
        pytest.importorskip(NEEDS[command])


def refused(command, path, capsys):
    before = sorted((p, p.lstat()[:4]) for p in path.parent.iterdir())
    assert main([*command, str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert str(path) in printed.err
    assert sorted((p, p.lstat()[:4]) for p in path.parent.iterdir()) == before


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "device"])
@pytest.mark.parametrize("command", FILES)
def test_a_file_is_written_over_regular_files_alone(command, kind, tmp_path, capsys):
    needs(command)
    path = tmp_path / "out.png"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("elsewhere")
    elif os.geteuid() == 0:
        os.mknod(path, 0o666 | 0o020000, os.makedev(1, 3))  # as /dev/null, but ours to lose
    else:
        pytest.skip("only the superuser makes devices")
    refused(FILES[command], path, capsys)


@pytest.mark.parametrize("command", [*FILES, *FOLDERS])
def test_a_file_in_place_of_a_folder_is_found_before_the_work(command, tmp_path, capsys):
    needs(command)
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "out.png"
    assert main([*{**FILES, **FOLDERS}[command], str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "Not a directory" in printed.err or "File exists" in printed.err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", ["fifo", "file", "link"])
@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_is_not_written_over_anything_else(command, kind, tmp_path, capsys):
    needs(command)
    path = tmp_path / "out"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to("elsewhere")
    refused(FOLDERS[command], path, capsys)


def test_an_export_leaves_a_web_app_alone(tmp_path, capsys):
    pytest.importorskip("onnx")
    app = tmp_path / "app"
    (app / "src").mkdir(parents=True)
    (app / "manifest.json").write_text('{"name": "app"}')
    (app / "src" / "index.js").write_text("work")
    assert main(["export", NANO, "-o", str(app), "--overwrite", "--protocol", "nano"]) == 2
    assert "is not a bundle: it will not be overwritten" in capsys.readouterr().err
    assert (app / "src" / "index.js").read_text() == "work"


def test_a_second_export_says_how_to_overwrite(tmp_path, capsys):
    pytest.importorskip("onnx")
    assert main(["export", NANO, "-o", str(tmp_path)]) == 2
    assert "exists: choose another folder or pass --overwrite" in capsys.readouterr().err
