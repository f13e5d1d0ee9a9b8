"""The one loop of the nano model's stages: it resumes bit for bit, and stops at what is no number.

A stage brings a module, data, an optimiser and scores; the loop brings everything else.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from awares_edge.errors import InputError
from awares_edge.training.errors import TrainingError
from awares_edge.training.metrics import MetricsLog
from awares_edge.training.nano.optim import MixedOptimizer
from awares_edge.training.nano.states import load_state, save_state

GATE_LINES = 4
"""Lines of the log over whose mean a gate is judged."""


@dataclass(frozen=True)
class Schedule:
    """Learning rate over ``steps``: linear warm-up, constant, linear cooldown."""

    steps: int
    warmup: int = 50
    cooldown: int = 500

    def scale(self, step: int) -> float:
        """Factor on the learning rate of step ``step`` (from 0)."""
        left = (self.steps - step) / max(1, self.cooldown)
        return min(1.0, (step + 1) / max(1, self.warmup), max(0.02, left))


class Stage(Protocol):
    """What a stage of the recipe brings."""

    schedule: Schedule
    gates: Mapping[str, float]
    optimizer: MixedOptimizer

    @property
    def module(self) -> nn.Module:
        """Holds the model's weights and the heads that are dropped later."""
        ...

    @property
    def data(self) -> Dataset[Any]:
        """Batch ``i`` is a function of the stage's seed and ``i``."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """Loss of one batch; what is scored is remembered."""
        ...

    def scores(self) -> dict[str, float]:
        """Means since the last call."""
        ...


@dataclass(frozen=True)
class LoopOptions:
    """How a stage is run.

    Attributes:
        seconds: time for all stages together; the first line of the log after it is the last.
            Run again to go on.
        log_every: in steps.
        save_every: in steps, a multiple of ``log_every``: between two lines scores are being
            summed, and a state does not hold the sums.
        workers: processes that draw pictures.
        clock: tells the seconds.
    """

    seconds: float = math.inf
    log_every: int = 25
    save_every: int = 100
    workers: int = 1
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if self.save_every % self.log_every:
            raise InputError(
                f"save_every ({self.save_every}) must be a multiple of log_every ({self.log_every})"
            )


def run_stage(
    stage: Stage,
    out: Path,
    options: LoopOptions,
    deadline: float,
    report: Callable[[dict[str, Any]], None],
) -> bool:
    """Train ``stage`` in folder ``out``; True when its schedule is done, False when time is up.

    ``deadline`` is a time of ``options.clock``, looked at after each line of ``metrics.jsonl``,
    so that every run gets at least one line further; ``report`` gets the lines. A batch is a
    function of its index, so that a run that was stopped repeats what it would have done.

    Raises:
        TrainingError: a loss or gradient is no number; the last good state is kept.
        CheckpointError: ``out`` holds a state that is not this stage's.
    """
    log, state = MetricsLog(out), out / "state.pt"
    start = load_state(state, stage.module, stage.optimizer) if state.exists() else 0
    log.truncate(start)
    device = next(stage.module.parameters()).device
    steps = stage.schedule.steps
    began = options.clock()
    loader = stream(stage.data, start, steps, options.workers)
    for step, batch in zip(range(start, steps), loader, strict=False):
        loss = stage.loss(to_device(batch, device))
        loss.backward()  # type: ignore[no-untyped-call]
        norm = stage.optimizer.clip(1.0)
        for name, value in (("loss", float(loss.detach())), ("gradient's norm", norm)):
            if not math.isfinite(value):
                kept = f"the last good state is {state}" if state.exists() else "nothing was saved"
                raise TrainingError(f"step {step}: the {name} is {value}; {kept}: lower the rate")
        stage.optimizer.step(stage.schedule.scale(step))
        done = step + 1 == steps
        if (step + 1) % options.log_every and not done:
            continue
        line = {"step": step + 1, "s": round(options.clock() - began, 1), **stage.scores()}
        log.write(**line)
        report(line)
        late = options.clock() >= deadline
        if (step + 1) % options.save_every == 0 or done or late:
            save_state(state, stage.module, stage.optimizer, step + 1)
        if late and not done:
            return False
    return True


def missed_gates(gates: Mapping[str, float], log: MetricsLog) -> list[str]:
    """What a finished stage lacks: a line for each score whose last mean is below its gate."""
    lines = log.read()
    missed = []
    for name, wanted in gates.items():
        values = [line[name] for line in lines if name in line][-GATE_LINES:]
        mean = sum(values) / len(values) if values else 0.0
        if mean < wanted:
            missed.append(f"{name} {mean:.3f} < {wanted}")
    return missed


def stream(data: Dataset[Any], start: int, stop: int, workers: int = 1) -> DataLoader[Any]:
    """Batches ``start`` to ``stop`` of ``data``, in order, made by processes of lower priority."""
    return DataLoader(
        data,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=6 if workers else None,
        worker_init_fn=_be_nice,
    )


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on ``device``."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {k: to_device(v, device) for k, v in batch.items()}
    if isinstance(batch, tuple | list) and any(isinstance(x, Tensor) for x in batch):
        return [to_device(x, device) for x in batch]
    return batch


def _be_nice(_worker: int) -> None:
    """Leave the processor to the trainer."""
    os.nice(5)
