"""The checkpoint folder is replaced atomically and can be read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from awares_edge.checkpoint import Checkpoint, read_preprocessing  # noqa: E402
from awares_edge.vision import Preprocessing  # noqa: E402
from recipes.nano import boxes, save  # noqa: E402
from recipes.nano.config import build_model  # noqa: E402
from recipes.nano.save import save_checkpoint  # noqa: E402


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_an_interrupted_save_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run" / "checkpoint"
    save_checkpoint(build_model(1), folder, {"try": 1})
    good = contents(folder)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(save, "save_tokenizer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(build_model(2), folder, {"try": 2})
    assert contents(folder) == good
    save_checkpoint(build_model(2), folder, {"try": 2})
    assert contents(folder).keys() == good.keys()
    assert contents(folder)["model.safetensors"] != good["model.safetensors"]
    assert [p.name for p in folder.parent.iterdir()] == ["checkpoint"]


def test_a_saved_checkpoint_passes_verification_and_names_its_preprocessing(tmp_path: Path) -> None:
    save_checkpoint(build_model(1), tmp_path / "nano", {})
    model = build_model(1)
    assert Checkpoint.open(tmp_path / "nano").parameters == sum(
        p.numel() for p in model.parameters()
    )
    assert read_preprocessing(tmp_path / "nano") == Preprocessing()


def test_the_chat_template_has_the_system_prompt_that_the_model_was_trained_with(
    tmp_path: Path,
) -> None:
    for name, profile in (("crops", save.PROFILE), ("boxes", boxes.PROFILE)):
        save_checkpoint(build_model(1), tmp_path / name, {}, profile)
        assert profile.system in (tmp_path / name / "chat_template.jinja").read_text()
