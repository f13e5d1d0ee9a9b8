"""Runs the recipe: each stage in its own folder, resumable, stopped at its gates."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from awares_edge.checkpoint import Checkpoint
from awares_edge.errors import CheckpointError, InputError
from awares_edge.protocol import ProtocolProfile, get_profile
from awares_edge.training.errors import TrainingError
from awares_edge.training.metrics import MetricsLog
from awares_edge.training.run import pin_settings
from recipes.nano import boxes
from recipes.nano.config import build_model
from recipes.nano.fast_text import FastText
from recipes.nano.fast_vision import FastVision
from recipes.nano.language_stage import LanguageConfig, LanguageStage
from recipes.nano.loop import LoopOptions, missed_gates, run_stage
from recipes.nano.outcomes import LABELS
from recipes.nano.save import save_checkpoint
from recipes.nano.stages import EXTRA, StageConfig
from recipes.nano.states import read_weights, take_over
from recipes.nano.vision_stage import VisionConfig, VisionStage

Report = Callable[[str, int, dict[str, Any]], None]
"""Called with a stage's name, its number of steps, and each line of its log."""

PLOTTED = ("loss", "glyph", "locate", "call", "crop")


@dataclass(frozen=True)
class NanoOptions:
    """How the recipe is run.

    Attributes:
        out: folder of the run; the checkpoint is written to `out/checkpoint`.
        start: checkpoint folder or state file to start from; None means random weights.
        only: names of the stages to run; empty means the whole recipe.
        seed: replaces the seed of every stage (for a second run, to be averaged with the first).
        ignore_gates: continue when a stage ends below its gates.
        compiled: compile the forward: a minute at the start, then several times faster.
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
    recipe: Sequence[StageConfig], options: NanoOptions, report: Report = lambda *_: None
) -> Path | None:
    """Run the stages that are not finished yet.

    Returns the checkpoint's folder, or None when the time is up.

    Raises:
        InputError: ``options.only`` names an unknown stage.
        TrainingError: a stage ended below its gates, its loss or gradient is NaN or inf, or the
            folder holds a run with other settings.
        CheckpointError: ``options.start`` is not a state or checkpoint of the nano model.
    """
    torch.set_num_threads(1)  # process-wide; a second thread gains nothing at these sizes
    deadline = options.loop.clock() + options.loop.seconds
    stages = _choose(recipe, options)
    model, weights = _load_start(options.start, stages[0].seed)
    for config in stages:
        folder = options.out / config.name
        folder.mkdir(parents=True, exist_ok=True)
        pin_settings(
            folder / "run.json",
            {**_plain(config), "gates": "", "start": options.start},
            begun=any((folder / name).exists() for name in ("state.pt", LABELS)),
        )
        stage = _build_stage(config, model, weights, options)
        if isinstance(stage, LanguageStage):
            every = options.loop.log_every
            stage.label(folder / LABELS, options.loop.workers, _label_report(report, config, every))
        line_report = _line_report(report, config)
        if not run_stage(stage, folder, options.loop, deadline, line_report):
            return None
        _finish_stage(config, MetricsLog(folder), options.ignore_gates)
        weights = {k: v.cpu() for k, v in stage.module.state_dict().items()}
    record = {
        "architecture": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "start": options.start.name if options.start else "random weights",
        "stages": [_plain(config) for config in stages],
    }
    save_checkpoint(model.cpu(), options.out / "checkpoint", record, _profile(stages[-1]))
    return options.out / "checkpoint"


def _profile(stage: StageConfig) -> ProtocolProfile:
    """The protocol that a stage trains with."""
    asks_for_boxes = isinstance(stage, LanguageConfig) and stage.mix.boxes
    return boxes.PROFILE if asks_for_boxes else get_profile("nano")


def _choose(recipe: Sequence[StageConfig], options: NanoOptions) -> list[StageConfig]:
    known = {config.name: config for config in (*recipe, *EXTRA)}
    for name in options.only:
        if name not in known:
            raise InputError(f"no stage {name!r}: choose from {', '.join(known)}")
    chosen = [known[name] for name in options.only] or list(recipe)
    if options.seed is None:
        return chosen
    return [replace(config, seed=options.seed) for config in chosen]


def _load_start(
    start: Path | None, seed: int
) -> tuple[Qwen2_5_VLForConditionalGeneration, dict[str, Tensor] | None]:
    """The model and the weights it starts from, heads included; None for random weights."""
    model = build_model(seed)
    if start is None:
        return model, None
    weights = read_weights(start) if start.is_file() else _checkpoint_weights(start)
    # Load both halves now: the vision stage has no text and must hand it on unchanged.
    take_over(weights, _halves(model), str(start))
    return model, weights


def _checkpoint_weights(folder: Path) -> dict[str, Tensor]:
    """A checkpoint's weights under the names that the stages use."""
    Checkpoint.open(folder)  # checks first: transformers would initialise missing weights at random
    try:
        loaded = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    # transformers' configuration validators raise many types; all mean the same to the user.
    except Exception as error:
        raise CheckpointError(f"{folder} cannot be loaded: {error}".splitlines()[0]) from error
    return _halves(loaded).state_dict()


def _halves(model: Qwen2_5_VLForConditionalGeneration) -> nn.ModuleDict:
    """Both halves of the model, named as in every stage's module."""
    return nn.ModuleDict({"vision": FastVision(model), "text": FastText(model)})


def _build_stage(
    config: StageConfig,
    model: Qwen2_5_VLForConditionalGeneration,
    weights: dict[str, Tensor] | None,
    options: NanoOptions,
) -> VisionStage | LanguageStage:
    """A stage on its device, with the weights of the stage before it."""
    stage: VisionStage | LanguageStage
    if isinstance(config, VisionConfig):
        fresh = config.fresh and weights is None
        stage = VisionStage(model, replace(config, fresh=fresh), compiled=options.compiled)
    else:
        stage = LanguageStage(model, config, compiled=options.compiled)
    if weights:
        take_over(weights, stage.module, str(options.start or options.out))
        stage.optimizer.read_weights()
    stage.module.to(options.device)
    stage.optimizer.to(options.device)
    return stage


def _finish_stage(config: StageConfig, log: MetricsLog, ignore_gates: bool) -> None:
    """Plot a finished stage and check its gates."""
    lines = log.read()
    log.plot(*(name for name in PLOTTED if lines and name in lines[-1]))
    missed = missed_gates(config.gates, log)
    if missed and not ignore_gates:
        raise TrainingError(
            f"stage {config.name} ended below its gates ({', '.join(missed)}), and the next stage "
            f"depends on them: see {log.path.with_name('curve.png')}"
        )


def _line_report(report: Report, config: StageConfig) -> Callable[[dict[str, Any]], None]:
    return lambda line: report(config.name, config.schedule.steps, line)


def _label_report(report: Report, config: StageConfig, every: int) -> Callable[[int], None]:
    def count(done: int) -> None:
        if done % every == 0:
            report(f"{config.name}, labels", config.schedule.steps, {"step": done})

    return count


def _plain(config: StageConfig) -> dict[str, Any]:
    """A stage's settings as JSON values."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return values
