"""The training loop of all stages: resumes bit for bit, aborts on NaN or inf.

A stage provides a module, data, an optimiser and scores; the loop does the rest.
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
from recipes.nano.optim import MixedOptimizer
from recipes.nano.states import load_state, save_state

GATE_LINES = 4
"""Number of last log lines whose mean score is compared with a gate."""


@dataclass(frozen=True)
class Schedule:
    """Learning rate over ``steps``: linear warmup, constant, linear cooldown."""

    steps: int
    warmup: int = 50
    cooldown: int = 500

    def scale(self, step: int) -> float:
        """Factor on the learning rate at ``step`` (0-based)."""
        left = (self.steps - step) / max(1, self.cooldown)
        return min(1.0, (step + 1) / max(1, self.warmup), max(0.02, left))


class Stage(Protocol):
    """What the loop needs of a stage."""

    schedule: Schedule
    gates: Mapping[str, float]
    optimizer: MixedOptimizer

    @property
    def module(self) -> nn.Module:
        """The model's weights and auxiliary heads that are dropped later."""
        ...

    @property
    def data(self) -> Dataset[Any]:
        """Batch ``i`` depends only on the stage's seed and ``i``."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """Loss of one batch; also adds to the scores."""
        ...

    def scores(self) -> dict[str, float]:
        """Mean scores since the last call."""
        ...


@dataclass(frozen=True)
class LoopOptions:
    """How a stage is run.

    Attributes:
        seconds: time limit of all stages together. The run stops at the first log line after it.
        log_every: steps between log lines.
        save_every: steps between saved states; a multiple of ``log_every``, because a state does
            not hold the sums of scores between two log lines.
        workers: processes that draw pictures.
        clock: returns the time in seconds.
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
    """Train ``stage`` in folder ``out``; True when it is finished, False when the time is up.

    ``deadline`` (a time of ``options.clock``) is checked after each line of ``metrics.jsonl``, so
    every run advances by at least one line; ``report`` is called with each line. Batches depend
    only on their index, so an interrupted run continues exactly as it would have.

    Raises:
        TrainingError: the loss or the gradient is NaN or inf; the last good state is kept.
        CheckpointError: ``out`` holds a state of another stage.
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
        for name, value in (("loss", float(loss.detach())), ("gradient norm", norm)):
            if not math.isfinite(value):
                kept = f"the last good state is {state}" if state.exists() else "nothing was saved"
                raise TrainingError(
                    f"step {step}: the {name} is {value}; {kept}; lower the learning rate"
                )
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
    """One line for each gate that a finished stage missed, e.g. "call 0.925 < 0.96"."""
    lines = log.read()
    missed = []
    for name, wanted in gates.items():
        values = [line[name] for line in lines if name in line][-GATE_LINES:]
        mean = sum(values) / len(values) if values else 0.0
        if mean < wanted:
            missed.append(f"{name} {mean:.3f} < {wanted}")
    return missed


def stream(data: Dataset[Any], start: int, stop: int, workers: int = 1) -> DataLoader[Any]:
    """Batches ``start`` to ``stop`` of ``data`` in order, made by low-priority processes."""
    return DataLoader(
        data,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=6 if workers else None,
        worker_init_fn=_be_nice,
    )


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on ``device``."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {k: to_device(v, device) for k, v in batch.items()}
    if isinstance(batch, tuple | list) and any(isinstance(x, Tensor) for x in batch):
        return [to_device(x, device) for x in batch]
    return batch


def _be_nice(_worker: int) -> None:
    """Give the training process priority."""
    os.nice(5)
