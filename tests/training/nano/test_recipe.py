"""The nano recipe: stages hand over, resume bit for bit, and stop at gates and at NaN."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("matplotlib")

from awares_edge.errors import CheckpointError, InputError  # noqa: E402
from awares_edge.training.errors import TrainingError  # noqa: E402
from awares_edge.training.metrics import MetricsLog  # noqa: E402
from awares_edge.training.nano.language_stage import LanguageConfig, LanguageStage  # noqa: E402
from awares_edge.training.nano.loop import LoopOptions, Schedule, missed_gates  # noqa: E402
from awares_edge.training.nano.recipe import (  # noqa: E402
    RECIPE,
    NanoOptions,
    run_recipe,
    smoke,
)
from awares_edge.training.nano.vision_stage import VisionConfig  # noqa: E402

SMALL = smoke(RECIPE)
QUICK = LoopOptions(log_every=2, save_every=2, workers=0)


def options(out: Path, **changes: Any) -> NanoOptions:
    values: dict[str, Any] = {"loop": QUICK, "compiled": False, "only": ("policy",), **changes}
    return NanoOptions(out, **values)


def shortened(steps: int, **changes: Any) -> tuple[LanguageConfig, ...]:
    (policy,) = (s for s in SMALL if s.name == "policy")
    assert isinstance(policy, LanguageConfig)
    return (dataclasses.replace(policy, schedule=Schedule(steps, 1, 2), **changes),)


def test_schedule_warms_up_holds_and_cools_down() -> None:
    schedule = Schedule(100, warmup=10, cooldown=50)
    assert [schedule.scale(i) for i in (0, 9, 40, 75)] == [0.1, 1.0, 1.0, 0.5]
    assert 0 < schedule.scale(99) < 0.05


@pytest.mark.slow
def test_every_stage_hands_over_to_the_next_and_the_result_loads(tmp_path: Path) -> None:
    from transformers import Qwen2_5_VLForConditionalGeneration

    seen: list[str] = []
    folder = run_recipe(SMALL, options(tmp_path, only=()), lambda name, *_: seen.append(name))
    assert folder == tmp_path / "checkpoint"
    assert list(dict.fromkeys(seen)) == ["vision", "reading", "policy"]
    assert all((tmp_path / s.name / "curve.png").exists() for s in SMALL)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    trained = torch.load(tmp_path / "policy" / "state.pt", weights_only=True)["model"]
    saved = model.model.language_model.layers[0].mlp.down_proj.weight.float()
    assert torch.equal(saved, trained["text.text.layers.0.mlp.down_proj.weight"].float())
    first, last = (MetricsLog(tmp_path / "vision").read()[i]["loss"] for i in (0, -1))
    assert last < first


def test_a_stopped_run_repeats_what_it_would_have_done(tmp_path: Path) -> None:
    whole = run_recipe(shortened(4), options(tmp_path / "whole"))
    assert whole is not None
    stopped = LoopOptions(seconds=0, log_every=2, save_every=2, workers=0)
    runs = 0
    while run_recipe(shortened(4), options(tmp_path / "halves", loop=stopped)) is None:
        runs += 1
    assert runs >= 2
    weights = [
        (tmp_path / n / "checkpoint" / "model.safetensors").read_bytes()
        for n in ("whole", "halves")
    ]
    assert weights[0] == weights[1]


def test_a_stage_below_its_gate_ends_the_run(tmp_path: Path) -> None:
    recipe = shortened(2, gates={"call": 1.01})
    with pytest.raises(TrainingError, match="policy ended below its gate"):
        run_recipe(recipe, options(tmp_path))
    assert not (tmp_path / "checkpoint").exists()
    assert run_recipe(recipe, options(tmp_path, ignore_gates=True)) is not None


def test_gates_are_judged_by_the_last_lines_and_a_missing_score_fails(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step, value in enumerate((0.0, 0.0, 0.9, 0.9, 0.9, 1.0)):
        log.write(step=step, call=value)
    assert missed_gates({"call": 0.92}, log) == []
    assert missed_gates({"call": 0.93, "crop": 0.1}, log) == [
        "call 0.925 < 0.93",
        "crop 0.000 < 0.1",
    ]


def test_a_gradient_that_is_no_number_stops_and_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LanguageStage.loss
    calls = 0

    def poisoned(self: LanguageStage, batch: dict[str, Any]) -> Any:
        nonlocal calls
        calls += 1
        return real(self, batch) * (float("nan") if calls == 3 else 1.0)

    monkeypatch.setattr(LanguageStage, "loss", poisoned)
    with pytest.raises(TrainingError, match=r"step 2: .*nan.*state\.pt"):
        run_recipe(shortened(4), options(tmp_path))
    state = torch.load(tmp_path / "policy" / "state.pt", weights_only=True)
    assert state["next"] == 2
    assert all(torch.isfinite(v).all() for v in state["model"].values())


def test_what_cannot_be_begun_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose among vision, reading, policy, reader"):
        run_recipe(RECIPE, options(tmp_path, only=("vsion",)))
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        run_recipe(RECIPE, options(tmp_path, start=tmp_path))


def test_a_reader_is_never_taught_to_call() -> None:
    """The ablation ladder starts from a model that sees well and answers everything at once."""
    from awares_edge.training.nano.batches import Batches

    (config,) = shortened(1)
    mix = dataclasses.replace(config.mix, policy=False, drills=0)
    kinds = [u[0] for i in range(4) for u in Batches("train", 1, config.slots, mix)[i]["units"]]
    assert "call" not in kinds
    assert "low small" in kinds
    assert "crop" in kinds


def test_the_recipe_begins_with_vision_and_every_stage_has_a_gate() -> None:
    assert isinstance(RECIPE[0], VisionConfig)
    assert all(stage.gates for stage in RECIPE)
    assert len({stage.name for stage in RECIPE}) == len(RECIPE)
