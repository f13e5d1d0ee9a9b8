"""The nano recipe: stages hand over weights, resume bit for bit, and stop at gates and at NaN."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("matplotlib")

from awares_edge.errors import CheckpointError, InputError  # noqa: E402
from awares_edge.training.errors import TrainingError  # noqa: E402
from awares_edge.training.metrics import MetricsLog  # noqa: E402
from recipes.nano.boxes import PROFILE as BOX_PROFILE  # noqa: E402
from recipes.nano.language_stage import LanguageConfig, LanguageStage  # noqa: E402
from recipes.nano.loop import LoopOptions, Schedule, missed_gates  # noqa: E402
from recipes.nano.run import NanoOptions, run_recipe  # noqa: E402
from recipes.nano.stages import BOXES, RECIPE, smoke_sized  # noqa: E402
from recipes.nano.vision_stage import VisionConfig  # noqa: E402

SMALL = smoke_sized(RECIPE)
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


class Clock:
    """A clock that advances only with training steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float = 10.0) -> None:
        self.now = 0.0
        real = LanguageStage.loss

        def timed(stage: LanguageStage, batch: dict[str, Any]) -> Any:
            self.now += step
            return real(stage, batch)

        monkeypatch.setattr(LanguageStage, "loss", timed)

    def __call__(self) -> float:
        return self.now


def lines(folder: Path) -> list[dict[str, Any]]:
    """The log without its timings."""
    return [{k: v for k, v in line.items() if k != "s"} for line in MetricsLog(folder).read()]


def test_an_interrupted_run_ends_with_the_same_weights_and_log(tmp_path: Path) -> None:
    whole = run_recipe(shortened(5), options(tmp_path / "whole"))
    assert whole is not None
    stopped = dataclasses.replace(QUICK, seconds=0)
    runs = 0
    while run_recipe(shortened(5), options(tmp_path / "parts", loop=stopped)) is None:
        runs += 1
    assert runs == 2
    weights = [
        (tmp_path / n / "checkpoint" / "model.safetensors").read_bytes() for n in ("whole", "parts")
    ]
    assert weights[0] == weights[1]
    assert len(lines(tmp_path / "whole" / "policy")) == 3
    assert lines(tmp_path / "whole" / "policy") == lines(tmp_path / "parts" / "policy")


def test_the_time_limit_is_for_all_stages_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    (stage,) = shortened(4)
    recipe = (stage, dataclasses.replace(stage, name="more"))
    loop = dataclasses.replace(QUICK, seconds=55, clock=clock)
    assert run_recipe(recipe, options(tmp_path, only=(), loop=loop)) is None
    assert clock.now == 60  # the line of the log after 55 seconds
    assert [line["step"] for line in lines(tmp_path / "policy")] == [2, 4]
    assert [line["step"] for line in lines(tmp_path / "more")] == [2]
    assert run_recipe(recipe, options(tmp_path, only=(), loop=loop)) is not None
    assert clock.now == 80


def test_states_are_saved_only_at_log_lines() -> None:
    with pytest.raises(InputError, match="multiple of log_every"):
        LoopOptions(log_every=25, save_every=40)


def test_a_stage_below_its_gates_ends_the_run(tmp_path: Path) -> None:
    recipe = shortened(2, gates={"call": 1.01})
    with pytest.raises(TrainingError, match=r"policy ended below its gates .*depends on them"):
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


@pytest.mark.parametrize(
    ("poison", "named"),
    [
        (lambda loss: loss * float("nan"), "loss is nan"),
        (lambda loss: loss + float("inf"), "loss is inf"),
        # The square root has an infinite slope at 0: the loss is finite, the gradients are NaN.
        (lambda loss: loss + (loss * 0).sqrt(), "gradient norm is nan"),
    ],
    ids=["nan", "inf", "gradient alone"],
)
def test_nan_or_inf_aborts_training_and_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: Any, named: str
) -> None:
    real = LanguageStage.loss
    stages: list[LanguageStage] = []
    before: dict[str, Any] = {}

    def poisoned(self: LanguageStage, batch: dict[str, Any]) -> Any:
        stages.append(self)
        if len(stages) < 4:
            return real(self, batch)
        before.update({k: v.clone() for k, v in self.module.state_dict().items()})
        return poison(real(self, batch))

    monkeypatch.setattr(LanguageStage, "loss", poisoned)
    with pytest.raises(TrainingError, match=rf"step 3: the {named}; .*state\.pt"):
        run_recipe(shortened(5), options(tmp_path))
    state = torch.load(tmp_path / "policy" / "state.pt", weights_only=True)
    assert state["next"] == 2
    assert all(torch.isfinite(v).all() for v in state["model"].values())
    after = stages[-1].module.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_unknown_stages_and_starts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose from vision, reading, policy, reader"):
        run_recipe(RECIPE, options(tmp_path, only=("vsion",)))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        run_recipe(RECIPE, options(tmp_path, start=tmp_path))


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    for seed in (None, 77):
        run_recipe(shortened(2), options(tmp_path / str(seed), seed=seed))
    seeds = [
        json.loads((tmp_path / name / "policy" / "run.json").read_text())["seed"]
        for name in ("None", "77")
    ]
    assert seeds == [shortened(2)[0].seed, 77]
    losses = [MetricsLog(tmp_path / n / "policy").read()[0]["loss"] for n in ("None", "77")]
    assert losses[0] != losses[1]


def test_labels_are_reported_kept_and_not_made_again(tmp_path: Path) -> None:
    stages, reported = shortened(2, outcomes=True), []

    def report(name: str, steps: int, line: dict[str, Any]) -> None:
        reported.append((name, steps, line["step"]))

    run_recipe(stages, options(tmp_path), report)
    assert reported == [("policy, labels", 2, 2), ("policy", 2, 2)]
    labels = tmp_path / "policy" / "outcomes.json"
    made = labels.stat().st_mtime_ns
    json.loads(labels.read_text())
    reported.clear()
    run_recipe(stages, options(tmp_path), report)
    assert reported == []
    assert labels.stat().st_mtime_ns == made


def test_labels_belong_to_the_run_that_made_them(tmp_path: Path) -> None:
    stages = shortened(2, outcomes=True)
    run_recipe(stages, options(tmp_path))
    (tmp_path / "policy" / "state.pt").unlink()  # interrupted before the first state
    with pytest.raises(TrainingError, match="seed"):
        run_recipe(stages, options(tmp_path, seed=77))


def test_the_boxes_stage_teaches_calls_and_saves_its_own_prompt(tmp_path: Path) -> None:
    small = [dataclasses.replace(s, schedule=Schedule(2, 1, 2)) for s in smoke_sized([BOXES])]
    folder = run_recipe(small, options(tmp_path, only=()))
    assert folder == tmp_path / "checkpoint"
    (line,) = MetricsLog(tmp_path / "boxes").read()
    assert {"call", "called", "crop", "held", "full small"} <= line.keys()
    assert BOX_PROFILE.system in (folder / "chat_template.jinja").read_text()


def test_a_reader_is_never_taught_to_call() -> None:
    """The ablation ladder starts from a model that reads well and answers everything at once."""
    from recipes.nano.batches import Batches

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
