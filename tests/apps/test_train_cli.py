"""`awares-edge train`: the commands one after another at the size that CI can afford."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import awares_edge
from awares_edge import extras
from awares_edge.apps.cli import main

CHECKPOINT = str(Path(awares_edge.__file__).parents[1] / "checkpoints" / "nano")
ON_CPU = ["--protocol", "nano", "--lora", "0"]


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory):
    path = tmp_path_factory.mktemp("curated") / "t.jsonl"
    assert main(["train", "curate", str(awares_edge.embedded_bundle()), "-o", str(path),
                 "--count", "12"]) == 0  # fmt: skip
    return path


def test_curate_goes_on_and_holds_to_its_settings(trajectories, capsys):
    rows = [json.loads(line) for line in trajectories.read_text().splitlines()]
    assert {row["label"] for row in rows} == {"LR", "HR"}
    again = ["train", "curate", str(awares_edge.embedded_bundle()), "-o", str(trajectories)]
    assert main([*again, "--count", "14"]) == 0
    assert f"{len(rows)} were there" in capsys.readouterr().out
    assert main([*again, "--judge", "anls"]) == 2
    assert "begun with judge = exact" in capsys.readouterr().err


def test_curate_also_writes_for_another_trainer(tmp_path, capsys):
    path = tmp_path / "t.jsonl"
    command = ["train", "curate", str(awares_edge.embedded_bundle()), "-o", str(path),
               "--count", "4", "--format", "swift"]  # fmt: skip
    assert main(command) == 0
    assert "ROOT_IMAGE_DIR=" in capsys.readouterr().out
    rows = path.read_text().splitlines()
    assert len((tmp_path / "t.swift" / "train.jsonl").read_text().splitlines()) == len(rows)
    assert main(command) == 2  # before the model is loaded
    assert f"{tmp_path / 't.swift'} exists" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["swift", "sharegpt", "trl"])
def test_curated_trajectories_are_converted(form, trajectories, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["train", "convert", str(trajectories), "--format", form, "-o", str(out)]
    assert main([*command, "--protocol", "nano"]) == 0
    printed = capsys.readouterr()
    count = len(trajectories.read_text().splitlines())
    assert printed.out.startswith(f"{count} rows written")
    assert ("will weigh 1, not 5" in printed.err) == (form != "swift")
    assert main([*command, "--protocol", "deepeyes"]) == 2
    assert main(["train", "convert", "none.jsonl", "--format", form, "-o", "x"]) == 2
    assert "no such file: none.jsonl" in capsys.readouterr().err


def test_sft_then_grpo_then_the_average(trajectories, tmp_path, capsys):
    pytest.importorskip("accelerate")
    sft, grpo, mean = (str(tmp_path / name) for name in ("sft", "grpo", "mean"))
    given = [str(trajectories), *ON_CPU, "--lr", "1e-5"]
    assert (
        main(["train", "sft", CHECKPOINT, *given, "--steps", "2", "--batch", "2", "-o", sft]) == 0
    )
    assert main(["train", "grpo", f"{sft}/final", *given, "--steps", "1", "--prompts", "2",
                 "--group", "2", "-o", grpo]) == 0  # fmt: skip
    assert main(["train", "average", CHECKPOINT, f"{grpo}/final", "-o", mean]) == 0
    assert capsys.readouterr().out.count("written to") == 3
    assert json.loads((Path(mean) / "average.json").read_text())["share"] == 0.5
    assert main(["evaluate", "synth", "--bundle", mean, "--runtime", "torch", "--protocol", "nano",
                 "--limit", "6", "--mode", "awares", "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["curate", CHECKPOINT, "--judge", "endpoint"], "needs --judge-model"),
        (["curate", CHECKPOINT, "--judge", "endpoint", "--judge-model", "m"], "needs --endpoint"),
        (["curate", CHECKPOINT, "--oracle", "endpoint"], "needs --endpoint and --oracle-model"),
        (["curate", CHECKPOINT, "--judge-model", "m"], "leave --judge-model out"),
        (["curate", CHECKPOINT, "--oracle-model", "m"], "leave --oracle-model out"),
        (["curate", CHECKPOINT, "--endpoint", "http://x"], "leave it out"),
        (["curate", CHECKPOINT], "export it first"),
        (["curate", CHECKPOINT, "--data", "gone.jsonl"], "no such file: gone.jsonl"),
        (["sft", "gone", "gone.jsonl"], "no such file: gone.jsonl"),
        (["grpo", CHECKPOINT, "gone.jsonl"], "no such file: gone.jsonl"),
        (["average", CHECKPOINT, "gone"], "gone has no model.safetensors"),
        (["sft", CHECKPOINT, "gone.jsonl", "--lr", "nan"], "greater than or equal to 0"),
        (["sft", CHECKPOINT, "gone.jsonl", "--seed", "-1"], "greater than or equal to 0"),
        (["grpo", CHECKPOINT, "gone.jsonl", "--miss", "inf"], "inf must be finite"),
        (["curate", CHECKPOINT, "--threshold", "7"], "less than or equal to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_line(given, said, tmp_path, capsys):
    assert main(["train", *given, "-o", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert said in " ".join(shown.split())
    assert "Traceback" not in shown
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_before_the_work(monkeypatch, tmp_path, capsys):
    real = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda n: None if n == "matplotlib" else real(n))
    assert main(["train", "sft", CHECKPOINT, "t.jsonl", "-o", str(tmp_path / "out")]) == 2
    assert "training needs matplotlib: pip install 'awares-edge[train]'" in " ".join(
        capsys.readouterr().err.split()
    )
