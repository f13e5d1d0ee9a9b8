"""What the nano model's stages share: a stream of batches, and a state to resume from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from awares_edge.training.optim import MixedOptimizer


def stream(data: Dataset[Any], start: int, stop: int) -> DataLoader[Any]:
    """Batches `start` to `stop` of `data`, in order, made by one process of lower priority."""
    return DataLoader(
        data,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=1,
        prefetch_factor=6,
        worker_init_fn=_be_nice,
    )


def save_state(path: Path, model: nn.Module, optimizer: MixedOptimizer, following: int) -> None:
    """Write all that the step `following` needs, whole or not at all."""
    temporary = Path(f"{path}.tmp")
    state = {"opt": optimizer.state_dict(), "next": following, "model": model.state_dict()}
    torch.save(state, temporary)
    temporary.rename(path)


def _be_nice(_worker: int) -> None:
    """Leave the processor to the trainer."""
    os.nice(5)
