"""State files: resuming a stage, and handing weights from one stage to the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from awares_edge.errors import CheckpointError
from awares_edge.files import whole_file
from recipes.nano.optim import MixedOptimizer

_VISION = "vision"
_PARTS = (_VISION, "text", "aux", "aux_things", "aux_place", "aux_place_norm")
"""First words of parameter names: the model's two halves, then the auxiliary heads."""


def save_state(path: Path, module: nn.Module, optimizer: MixedOptimizer, following: int) -> None:
    """Write atomically everything that step ``following`` needs."""
    state = {"opt": optimizer.state_dict(), "next": following, "model": module.state_dict()}
    with whole_file(path) as file:
        torch.save(state, file)


def load_state(path: Path, module: nn.Module, optimizer: MixedOptimizer) -> int:
    """Load a saved state into a stage's module and optimiser; returns the next step.

    Raises:
        CheckpointError: the file is not a state of this stage.
    """
    state = _read(path)
    wrong = _difference(state["model"], module.state_dict())
    if wrong or not {"opt", "next"} <= state.keys():
        raise CheckpointError(
            f"{path} is not this stage's state ({wrong or 'it holds weights only'}): "
            "choose another folder, or remove the file to restart the stage"
        )
    module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["opt"])
    return int(state["next"])


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a state file, by name.

    Raises:
        CheckpointError: the file is not a state file.
    """
    weights: dict[str, Tensor] = _read(path)["model"]
    return weights


def take_over(weights: Mapping[str, Tensor], module: nn.Module, source: str) -> None:
    """Load the parts that ``weights`` and ``module`` share; vision must be among them.

    Each part (vision, text, each auxiliary head) must be complete. Heads that only other stages
    have are ignored; heads that ``weights`` lack keep their initial values, and so does text, which
    the vision stage does not have.

    Raises:
        CheckpointError: a part of ``weights`` is incomplete, unknown or of another shape; the
            message names ``source``, the path they are from.
    """
    given, wanted = _by_part(weights), _by_part(module.state_dict())
    unknown = sorted(given.keys() - set(_PARTS))
    wrong = f"{min(given[unknown[0]])} belongs to no stage" if unknown else ""
    for part, mine in wanted.items():
        if part == _VISION or part in given:
            wrong = wrong or _difference(given.get(part, {}), mine)
    if wrong:
        raise CheckpointError(
            f"{source} does not fit the nano model ({wrong}): choose a state.pt of this recipe, "
            "or a checkpoint folder"
        )
    module.load_state_dict(weights, strict=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can raise almost anything. Code in a pickle is refused, not run.
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as a state file (damaged, or not written by this recipe): "
            "choose a state.pt, or a checkpoint folder"
        ) from error
    weights = state.get("model") if isinstance(state, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in weights.items()
    ):
        raise CheckpointError(
            f"{path} holds no weights of a stage: choose a state.pt of this recipe, "
            "or a checkpoint folder"
        )
    return state


def _by_part(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        parts.setdefault(name.split(".")[0], {})[name] = value
    return parts


def _difference(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """The first difference in names or shapes, in words; empty if there is none."""
    for name in sorted(given.keys() | wanted.keys()):
        if name not in given:
            return f"{name} is missing"
        if name not in wanted:
            return f"{name} is unknown"
        if given[name].shape != wanted[name].shape:
            return f"{name} has shape {list(given[name].shape)}, not {list(wanted[name].shape)}"
    return ""
