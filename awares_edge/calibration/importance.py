"""Measures which inputs of each text matrix matter, on two-turn questions.

The questions go through the product's own loop on transformers (runtime `torch`), with a hook on
each matrix of the text model that sums the squares of its inputs: text and pictures, low-res and
crop turns, prompt and answer, as the deployed model will see them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from awares_edge.api import load
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.lora import Adapter, merge
from awares_edge.checkpoint.names import EMBEDDING, HEAD, canonical
from awares_edge.controller.options import AskOptions
from awares_edge.errors import InputError
from awares_edge.vision.load import ImageSource

_ANSWER_TOKENS = 32
_NOISE_QUESTIONS = ("What is written here?", "What color is the circle?", "How many are there?")
_NOISE_CROPS: tuple[tuple[str, ...], ...] = ((), ("0",), ("3",), ("4",), ("1", "2"), ("all",))
_NOISE_SIZE = 448


@dataclass(frozen=True, slots=True)
class CalibrationQuestion:
    """A question to measure on, with the crops that it is asked with.

    Attributes:
        crops: sent in a second turn; None lets the model choose, () keeps it to the low-res view.
    """

    image: ImageSource
    question: str
    crops: tuple[str, ...] | None = None


class Importance:
    """Sums over the inputs of each matrix of a text model.

    Attributes:
        sums: by canonical tensor name, float64 [row length]: sum of squares. A tied head is stored
            under the embedding's name.
        counts: by canonical tensor name, inputs summed.
    """

    def __init__(self) -> None:
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Count inputs float32 [n, row length] of one matrix."""
        squares = np.square(inputs, dtype=np.float64).sum(axis=0)
        self.sums[name] = self.sums.get(name, 0.0) + squares
        self.counts[name] = self.counts.get(name, 0) + len(inputs)


class Observer(Protocol):
    """Is shown the inputs of each matrix of a text model."""

    def add(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Inputs float32 [n, row length] of the matrix of a canonical name; a tied head goes by the
        embedding's."""
        ...


def measure(
    checkpoint: Path,
    questions: Iterable[CalibrationQuestion],
    *,
    protocol: str = "paper",
    device: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Importance:
    """Ask each question of a checkpoint and sum up; see `observe` for arguments and errors."""
    importance = Importance()
    observe(checkpoint, questions, importance, protocol=protocol, device=device, progress=progress)
    return importance


def observe(
    checkpoint: Path,
    questions: Iterable[CalibrationQuestion],
    observer: Observer,
    *,
    adapter: Path | None = None,
    protocol: str = "paper",
    device: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Ask each question of a checkpoint and show an observer what goes through it.

    Args:
        adapter: LoRA folder to merge first.
        progress: called with how many questions are done.

    Raises:
        InputError: there is no question.
        CheckpointError, ImageError, QuestionError: an input cannot be used.
        RuntimeUnavailable: torch or transformers is missing.
    """
    done = 0
    with load(checkpoint, runtime="torch", protocol=protocol, device=device) as model:
        network: Any = getattr(model.runtime, "model")  # noqa: B009 - TorchRuntime alone has it
        if adapter is not None:
            _merge(network, checkpoint, adapter)
        handles = _hook(network, observer)
        try:
            for done, asked in enumerate(questions, 1):
                model.ask(asked.image, asked.question, _options(asked))
                if progress:
                    progress(done)
        finally:
            for handle in handles:
                handle.remove()
    if not done:
        raise InputError("calibration needs at least one question: give some")


def noise_questions(count: int = 12) -> list[CalibrationQuestion]:
    """Blurred noise with fixed questions, from a seed: for where there is nothing better."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        coarse = rng.integers(0, 256, (_NOISE_SIZE // 8,) * 2 + (3,), dtype=np.uint8)
        picture = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)
        question = _NOISE_QUESTIONS[i % len(_NOISE_QUESTIONS)]
        found.append(CalibrationQuestion(picture, question, _NOISE_CROPS[i % len(_NOISE_CROPS)]))
    return found


def read_questions(path: Path) -> list[CalibrationQuestion]:
    """Read a file of lines {"image": "a.png", "question": "...", "crops": ["3"]}.

    Image paths are relative to the file; "crops" may be left out, see `CalibrationQuestion`.

    Raises:
        InputError: no such file, or a line of another form.
    """
    if not path.is_file():
        raise InputError(f"no such file of questions: {path}")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            crops = row.get("crops")
            image, question = path.parent / str(row["image"]), str(row["question"])
            found.append(
                CalibrationQuestion(image, question, crops if crops is None else tuple(crops))
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f'{path}, line {number}: wanted {{"image": ..., "question": ..., "crops": [...]}}'
            ) from error
    return found


def _options(asked: CalibrationQuestion) -> AskOptions:
    if asked.crops is None:
        return AskOptions(max_new_tokens=_ANSWER_TOKENS)
    if not asked.crops:
        return AskOptions(mode="low", max_new_tokens=_ANSWER_TOKENS)
    return AskOptions(crops=asked.crops, max_new_tokens=_ANSWER_TOKENS)


def _merge(network: Any, checkpoint: Path, adapter: Path) -> None:
    """Put the weights of a checkpoint with an adapter into a loaded network."""
    import torch

    source = Checkpoint.open(checkpoint)
    merged = merge(source, Adapter.open(adapter, source))
    with torch.no_grad():
        for stored, parameter in network.named_parameters():
            if name := canonical(stored):
                tensor = merged.tensor(name)
                rows = torch.from_numpy(tensor.rows(0, tensor.shape[0]))
                parameter.copy_(rows.reshape(parameter.shape))


def _hook(network: Any, observer: Observer) -> list[Any]:
    """A hook on each matrix of the text model, the head included."""
    import torch

    tied = network.lm_head.weight is network.get_input_embeddings().weight
    handles = []
    for name, module in network.named_modules():
        source = canonical(f"{name}.weight")
        if isinstance(module, torch.nn.Linear) and source and not source.startswith("visual."):
            target = EMBEDDING if source == HEAD and tied else source
            handles.append(module.register_forward_hook(_hook_for(target, observer)))
    return handles


def _hook_for(name: str, observer: Observer) -> Callable[[Any, tuple[Any, ...], Any], None]:
    def hook(_: Any, inputs: tuple[Any, ...], __: Any) -> None:
        values = inputs[0].detach().float().cpu()
        observer.add(name, values.reshape(-1, values.shape[-1]).numpy())

    return hook
