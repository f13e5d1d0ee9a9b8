"""Measures an importance matrix on two-turn trajectories: low-res and crop turns both.

The questions go through the product's own loop on transformers (runtime `torch`), with a hook on
each matrix of the text model that sums the squares of its inputs: text and pictures, prompt and
answer, as the deployed model will see them.

    python -m awares_edge.export.gguf.trajectories CHECKPOINT samples.jsonl -o importance.gguf

A line of `samples.jsonl`: {"image": "a.png", "question": "What ...?", "crops": ["3"]}; with "crops"
left out the model chooses for itself, with an empty list it answers from the low-res view.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.api import load
from awares_edge.checkpoint.names import HEAD, canonical
from awares_edge.controller.loop import AskOptions
from awares_edge.controller.model import Model
from awares_edge.errors import AwaresError, InputError
from awares_edge.export.gguf.importance import save_importance
from awares_edge.export.gguf.layout import text_name
from awares_edge.vision.load import ImageSource

_ANSWER_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A question to measure on.

    Attributes:
        crops: sent in a second turn; None lets the model choose, () keeps it to the low-res view.
    """

    image: ImageSource
    question: str
    crops: tuple[str, ...] | None = None


class Importance:
    """Sums over the inputs of each matrix of a text model.

    Attributes:
        sums: by GGUF tensor name, float64 [row length]: sum of squares.
        counts: by GGUF tensor name, inputs summed.
    """

    def __init__(self) -> None:
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Count inputs float32 [n, row length] of one matrix."""
        squares = np.square(inputs, dtype=np.float64).sum(axis=0)
        self.sums[name] = self.sums.get(name, 0.0) + squares
        self.counts[name] = self.counts.get(name, 0) + len(inputs)

    def save(self, path: Path) -> None:
        """Write it for `export --format gguf`."""
        sums = {name: values.astype(np.float32) for name, values in self.sums.items()}
        save_importance(path, sums, self.counts)


def measure(
    checkpoint: Path,
    trajectories: Iterable[Trajectory],
    *,
    protocol: str = "paper",
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Importance:
    """Ask each question of a checkpoint and sum up.

    Args:
        progress: told how many questions are done.

    Raises:
        InputError: there is no question.
        CheckpointError, ImageError, QuestionError: an input cannot be used.
        RuntimeUnavailable: torch or transformers is missing.
    """
    importance = Importance()
    with load(checkpoint, runtime="torch", protocol=protocol, device=device) as model:
        handles = _hook(model, importance)
        try:
            for done, trajectory in enumerate(trajectories, 1):
                model.ask(trajectory.image, trajectory.question, _options(trajectory))
                if progress:
                    progress(done)
        finally:
            for handle in handles:
                handle.remove()
    if not importance.sums:
        raise InputError("an importance matrix needs at least one question: give some")
    return importance


def _options(trajectory: Trajectory) -> AskOptions:
    if trajectory.crops is None:
        return AskOptions(max_new_tokens=_ANSWER_TOKENS)
    if not trajectory.crops:
        return AskOptions(mode="low", max_new_tokens=_ANSWER_TOKENS)
    return AskOptions(crops=trajectory.crops, max_new_tokens=_ANSWER_TOKENS)


def _hook(model: Model, importance: Importance) -> list[Any]:
    """A hook on each matrix of the text model, the head included."""
    import torch

    network: Any = getattr(model.runtime, "model")  # noqa: B009 - TorchRuntime alone has it
    tied = network.lm_head.weight is network.get_input_embeddings().weight
    handles = []
    for name, module in network.named_modules():
        source = canonical(f"{name}.weight")
        if not isinstance(module, torch.nn.Linear) or not source:
            continue
        if source.startswith("visual."):
            continue
        # A tied head is stored once, under the embedding's name.
        target = "token_embd.weight" if source == HEAD and tied else text_name(source)
        handles.append(module.register_forward_hook(_hook_for(target, importance)))
    return handles


def _hook_for(name: str, importance: Importance) -> Callable[[Any, tuple[Any, ...], Any], None]:
    def hook(_: Any, inputs: tuple[Any, ...], __: Any) -> None:
        values = inputs[0].detach().float().cpu()
        importance.add(name, values.reshape(-1, values.shape[-1]).numpy())

    return hook


def read_trajectories(path: Path) -> list[Trajectory]:
    """Read a `samples.jsonl`; image paths are relative to it.

    Raises:
        InputError: no such file, or a line that is not as described above.
    """
    if not path.is_file():
        raise InputError(f"no such file of samples: {path}")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            sample = json.loads(line)
            crops = sample.get("crops")
            found.append(
                Trajectory(
                    path.parent / str(sample["image"]),
                    str(sample["question"]),
                    None if crops is None else tuple(map(str, crops)),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f'{path}, line {number}: wanted {{"image": ..., "question": ..., "crops": [...]}}'
            ) from error
    return found


def main(arguments: list[str] | None = None) -> int:
    """Command line; prints one line an error and returns 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--protocol", default="paper")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    try:
        importance = measure(
            options.checkpoint,
            read_trajectories(options.samples),
            protocol=options.protocol,
            device=options.device,
        )
        importance.save(options.output)
    except AwaresError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.output}: {len(importance.sums)} tensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
