"""Averages two checkpoints' weights: what fine-tuning taught, with less of what it forgot.

WiSE-FT (Wortsman et al., 2022, arXiv 2109.01903): between a model and its fine-tuned self the loss
is flat, and a point in between is often better than either end at old and new tasks together.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from awares_edge.errors import CheckpointError
from awares_edge.training.errors import TrainingError

WEIGHTS = "model.safetensors"


def average(start: Path, tuned: Path, out: Path, share: float = 0.5) -> Path:
    """Write ``start`` to ``out`` with each weight moved by ``share`` towards ``tuned``.

    Dtypes and all other files are the start's. The folder appears whole or not at all.

    Raises:
        CheckpointError: a folder holds no single weights file, or their tensors differ.
        TrainingError: ``out`` exists.
    """
    if out.exists():
        raise TrainingError(f"{out} exists: give another folder")
    first, second = _read(start), _read(tuned)
    shapes = [{name: tuple(x.shape) for name, x in weights.items()} for weights in (first, second)]
    if shapes[0] != shapes[1]:
        raise CheckpointError(f"{start} and {tuned} hold different tensors: nothing to average")
    mixed = {
        name: torch.lerp(x.float(), second[name].float(), share).to(x.dtype).contiguous()
        for name, x in first.items()
    }
    staging = out.with_name(out.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.copytree(start, staging)
    save_file(mixed, staging / WEIGHTS, metadata={"format": "pt"})
    staging.rename(out)
    return out


def _read(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no {WEIGHTS}: averaging takes unsharded checkpoints")
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return weights
