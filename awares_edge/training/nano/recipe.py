"""The nano model's recipe: its stages in order, each in a folder of its own, each behind a gate."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from awares_edge.checkpoint import Checkpoint
from awares_edge.errors import CheckpointError, InputError
from awares_edge.training.errors import TrainingError
from awares_edge.training.metrics import MetricsLog
from awares_edge.training.nano.batches import Mix
from awares_edge.training.nano.config import build_model
from awares_edge.training.nano.fast_text import FastText
from awares_edge.training.nano.fast_vision import FastVision
from awares_edge.training.nano.language_stage import LanguageConfig, LanguageStage
from awares_edge.training.nano.loop import LoopOptions, Schedule, missed_gates, run_stage
from awares_edge.training.nano.outcomes import LABELS
from awares_edge.training.nano.save import save_checkpoint
from awares_edge.training.nano.states import read_weights, take_over
from awares_edge.training.nano.views import Slots
from awares_edge.training.nano.vision_stage import VisionConfig, VisionStage
from awares_edge.training.run import pin_settings

StageConfig: TypeAlias = VisionConfig | LanguageConfig

_SLOTS = Slots(pictures=12, crops=28, centres=5, wide=6, tall=5)
_READING = Mix(
    two_turn=0.5, read_all=1.0, drills=4, easy_start=0.9, easy_steps=1200, easy_floor=0.05
)
_POLICY = Mix(two_turn=0.85, full_rows=0.4, read_all=0.15, drills=1)

RECIPE: tuple[StageConfig, ...] = (
    VisionConfig(
        "vision", seed=1, schedule=Schedule(7000, 30, 1800), gates={"glyph": 0.96, "thing": 0.99}
    ),
    LanguageConfig(
        "reading",
        seed=2,
        mix=_READING,
        slots=_SLOTS,
        lr=0.01,
        schedule=Schedule(1800, cooldown=300),
        gates={"match": 0.90, "full presence": 0.90, "row": 0.95, "column": 0.95},
    ),
    LanguageConfig(
        "policy",
        seed=3,
        mix=_POLICY,
        slots=_SLOTS,
        schedule=Schedule(7000, cooldown=3000),
        gates={"call": 0.96, "held": 0.98, "full small": 0.95, "crop": 0.95},
    ),
)
"""From random weights to the checkpoint; gates are means over the last steps' unseen pictures."""

READER = LanguageConfig(
    "reader",
    seed=5,
    mix=replace(_POLICY, policy=False, full_rows=1.0),
    slots=_SLOTS,
    lr=0.005,
    schedule=Schedule(400, cooldown=350),
)
"""Unlearns the call: sees well, never asks. The ablation ladder starts from it (by name alone)."""

DOCUMENTS = LanguageConfig(
    "documents",
    seed=61,
    mix=replace(_POLICY, documents=0.5, read_all=0.6, low=(0.25, 0.5, 0.25)),
    slots=_SLOTS,
    lr=0.006,
    schedule=Schedule(3000, cooldown=2800),
)
"""Crowded lines at low resolution, read out densely; for an average (by name alone)."""

OUTCOMES = LanguageConfig(
    "outcomes",
    seed=71,
    outcomes=True,
    mix=replace(_POLICY, documents=0.2, low=(0.35, 0.45, 0.2)),
    slots=_SLOTS,
    lr=0.002,
    schedule=Schedule(500, cooldown=480),
)
"""Learns to call for large text that its start cannot read; for an average (by name alone)."""

EXTRA = (READER, DOCUMENTS, OUTCOMES)
"""Stages that run by name alone, from a checkpoint."""


def smoke(recipe: Sequence[StageConfig]) -> tuple[StageConfig, ...]:
    """The same stages at a size that one CPU core runs in a minute; gates are dropped."""
    small = Slots(pictures=2, crops=6, centres=2, wide=1, tall=1)
    out: list[StageConfig] = []
    for stage in recipe:
        if isinstance(stage, VisionConfig):
            out.append(replace(stage, ramp=40, schedule=Schedule(20, 2, 4), gates={}))
        else:
            # Both kinds of pictures, easy and whole, in every stage.
            mix = replace(stage.mix, easy_start=0.9, easy_steps=8)
            short = replace(stage, mix=mix, slots=small, schedule=Schedule(8, 2, 4), gates={})
            out.append(short)
    return tuple(out)


@dataclass(frozen=True)
class NanoOptions:
    """How the recipe is run.

    Attributes:
        start: checkpoint folder or state file to begin from; random weights without.
        only: names of the stages to run; all without.
        seed: for every stage, in place of its own (another run, to be averaged with the first).
        ignore_gates: go on below a gate.
        compiled: compile the forward (a minute at the start, several times faster after).
        device: "cpu" or "cuda".
    """

    out: Path
    start: Path | None = None
    only: tuple[str, ...] = ()
    seed: int | None = None
    ignore_gates: bool = False
    compiled: bool = True
    device: str = "cpu"
    loop: LoopOptions = field(default_factory=LoopOptions)


def run_recipe(
    recipe: Sequence[StageConfig],
    options: NanoOptions,
    report: Callable[[str, int, dict[str, Any]], None] = lambda *_: None,
) -> Path | None:
    """Run what of ``recipe`` is not done; the checkpoint's folder, or None where time is up.

    ``report`` gets a stage's name, its steps, and each line of its log.

    Raises:
        TrainingError: a stage ended below its gate, met a number that is none, or was begun with
            other settings.
        CheckpointError: ``options.start`` is no state or checkpoint of this model.
    """
    torch.set_num_threads(1)  # of the whole process; a second thread gains nothing at these sizes
    deadline = options.loop.clock() + options.loop.seconds
    chosen = _choose(recipe, options.only)
    if options.seed is not None:
        chosen = [replace(stage, seed=options.seed) for stage in chosen]
    model, state = _begin(options.start, chosen[0].seed)
    for stage in chosen:
        folder = options.out / stage.name
        folder.mkdir(parents=True, exist_ok=True)
        pin_settings(
            folder / "run.json",
            {**_plain(stage), "gates": "", "start": options.start},
            begun=any((folder / name).exists() for name in ("state.pt", LABELS)),
        )
        made: VisionStage | LanguageStage
        if isinstance(stage, VisionConfig):
            fresh = stage.fresh and state is None
            made = VisionStage(model, replace(stage, fresh=fresh), compiled=options.compiled)
        else:
            made = LanguageStage(model, stage, compiled=options.compiled)
        if state:
            take_over(state, made.module, str(options.start or options.out))
            made.optimizer.read_weights()
        made.module.to(options.device)
        made.optimizer.to(options.device)
        if isinstance(made, LanguageStage):

            def count(done: int, stage: StageConfig = stage) -> None:
                if done % options.loop.log_every == 0:
                    report(f"{stage.name}, labels", stage.schedule.steps, {"step": done})

            made.label(folder / LABELS, options.loop.workers, count)

        def tell(line: dict[str, Any], stage: StageConfig = stage) -> None:
            report(stage.name, stage.schedule.steps, line)

        if not run_stage(made, folder, options.loop, deadline, tell):
            return None
        log = MetricsLog(folder)
        lines = log.read()
        drawn = ("loss", "glyph", "locate", "call", "crop")
        log.plot(*(n for n in drawn if lines and n in lines[-1]))
        missed = missed_gates(stage.gates, log)
        if missed and not options.ignore_gates:
            raise TrainingError(
                f"stage {stage.name} ended below its gate ({', '.join(missed)}): "
                "the next one would build on sand; see its curve.png, or give --ignore-gates"
            )
        state = {k: v.cpu() for k, v in made.module.state_dict().items()}
    record = {
        "architecture": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "start": str(options.start.name) if options.start else "random weights",
        "stages": [_plain(s) for s in chosen],
    }
    save_checkpoint(model.cpu(), options.out / "checkpoint", record)
    return options.out / "checkpoint"


def _choose(recipe: Sequence[StageConfig], only: Sequence[str]) -> list[StageConfig]:
    stages = {s.name: s for s in (*recipe, *EXTRA)}
    for name in only:
        if name not in stages:
            raise InputError(f"no stage {name!r}: choose among {', '.join(stages)}")
    return [stages[name] for name in only] if only else list(recipe)


def _begin(
    start: Path | None, seed: int
) -> tuple[Qwen2_5_VLForConditionalGeneration, dict[str, torch.Tensor] | None]:
    """The model, and the weights it begins with, heads included; None where they are random."""
    model = build_model(seed)
    if start is None:
        return model, None
    # Named as in every stage; a stage without text must leave it to the next one.
    both = nn.ModuleDict({"vision": FastVision(model), "text": FastText(model)})
    weights = read_weights(start) if start.is_file() else _of_checkpoint(start)
    take_over(weights, both, str(start))
    return model, weights


def _of_checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    """A checkpoint's weights under the names that a stage has for them."""
    Checkpoint.open(folder)  # transformers would leave what is missing random
    try:
        loaded = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    # Whatever its configuration's validators raise means the same to the user.
    except Exception as error:
        raise CheckpointError(f"{folder} cannot be loaded: {error}".splitlines()[0]) from error
    both = nn.ModuleDict({"vision": FastVision(loaded), "text": FastText(loaded)})
    return both.state_dict()


def _plain(stage: StageConfig) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(asdict(stage)))
    return values
