"""Averages the weights of two checkpoints, which keeps what fine-tuning taught and forgets less.

WiSE-FT (Wortsman et al., 2022, arXiv 2109.01903): between a model and its fine-tuned self the loss
is flat, and a point in between is often better than either end at old and new tasks together.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from awares_edge.errors import CheckpointError
from awares_edge.files import whole_folder
from awares_edge.training.errors import TrainingError
from awares_edge.training.likelihood import all_finite

WEIGHTS = "model.safetensors"


def average(start: Path, tuned: Path, out: Path, share: float = 0.5) -> Path:
    """Write ``start`` to ``out`` with each weight moved by ``share`` towards ``tuned``.

    Dtypes and all other files come from ``start``, except its card and recipe; ``average.json``
    records what was averaged. Nothing is written if this fails.

    Raises:
        CheckpointError: a folder has no single weights file, their tensors differ, or one has
            weights that are NaN or infinite.
        TrainingError: ``out`` exists.
    """
    if out.exists():
        raise TrainingError(f"{out} exists: give another folder")
    first, second = _read(start), _read(tuned)
    shapes = [{name: tuple(x.shape) for name, x in weights.items()} for weights in (first, second)]
    if shapes[0] != shapes[1]:
        raise CheckpointError(
            f"{start} and {tuned} have different tensors: they cannot be averaged"
        )
    for folder, weights in ((start, first), (tuned, second)):
        if not all_finite(list(weights.values())):
            raise CheckpointError(f"{folder} has weights that are NaN or infinite: not averaged")
    mixed = {
        name: torch.lerp(x.float(), second[name].float(), share).to(x.dtype).contiguous()
        for name, x in first.items()
    }
    with whole_folder(out) as folder:
        unfit = shutil.ignore_patterns("README.md", "recipe.json")  # they describe the start
        shutil.copytree(start, folder, dirs_exist_ok=True, ignore=unfit)
        save_file(mixed, folder / WEIGHTS, metadata={"format": "pt"})
        made = {"start": str(start), "tuned": str(tuned), "share": share}
        (folder / "average.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return out


def _read(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {WEIGHTS}: averaging takes unsharded checkpoints")
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return weights
