"""`python -m recipes.nano`: the smoke run, and errors in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("matplotlib")

import typer
from typer.testing import CliRunner

from awares_edge import extras
from recipes.nano.__main__ import app

README = Path(__file__).parents[3] / "recipes" / "nano" / "README.md"


@pytest.mark.slow
def test_the_smoke_run_writes_a_checkpoint(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["-o", str(tmp_path), "--smoke", "--stage", "vision"])
    assert result.exit_code == 0, result.output
    assert "vision 20/20" in result.stderr
    assert f"written to {tmp_path / 'checkpoint'}" in result.stdout
    assert (tmp_path / "checkpoint" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--stage", "gone"], "no stage 'gone': choose from vision, reading, policy"),
        (["--device", "cuda"], "torch finds no CUDA device"),
        (["--from", "gone"], "no such checkpoint folder: gone"),
        (["--minutes", "nan"], "greater than or equal to 0"),
        (["--seed=-1"], "greater than or equal to 0"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    given: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = CliRunner().invoke(app, [*given, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda n: None if n == "matplotlib" else real(n))
    result = CliRunner().invoke(app, ["-o", str(tmp_path), "--smoke"])
    assert result.exit_code == 2
    assert "training needs matplotlib: pip install 'awares-edge[train]'" in " ".join(
        result.stderr.split()
    )


def test_the_readme_uses_options_that_exist() -> None:
    known = {name for p in typer.main.get_command(app).params for name in p.opts}
    lines = re.findall(r"^ *python -m recipes\.nano (.*)$", README.read_text(), re.M)
    used = {word for line in lines for word in line.split("#")[0].split() if word[0] == "-"}
    assert {"-o", "--from", "--stage"} <= used <= known
