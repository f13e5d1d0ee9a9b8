"""Shows what goes through the text model of a checkpoint while it answers questions.

The questions go through the product's own loop on transformers (runtime `torch`), with a hook on
each matrix of the text model: text and pictures, low-res and crop turns, prompt and answer, as the
deployed model will see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from awares_edge.api import load
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.lora import Adapter, merge
from awares_edge.checkpoint.names import EMBEDDING, HEAD, canonical
from awares_edge.controller.options import AskOptions
from awares_edge.errors import InputError

_ANSWER_TOKENS = 32


class Observer(Protocol):
    """Is shown the inputs of each matrix of a text model."""

    def add(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Inputs float32 [n, row length] of the matrix of a canonical name; a tied head has the
        embedding's."""
        ...


def observe(
    checkpoint: Path,
    questions: Iterable[CalibrationQuestion],
    observer: Observer,
    *,
    adapter: Path | None = None,
    protocol: str | None = None,
    device: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Ask each question of a checkpoint and show an observer what goes through it.

    Args:
        adapter: LoRA folder to merge first, as the export will.
        protocol: name of the profile that the checkpoint was trained with; None as for `load`.
        progress: called with how many questions are done.

    Raises:
        InputError: there is no question.
        CheckpointError, ImageError, QuestionError: an input cannot be used.
        RuntimeUnavailable: torch or transformers is missing.
    """
    done = 0
    with load(checkpoint, runtime="torch", protocol=protocol, device=device) as model:
        network: Any = getattr(model.runtime, "model")  # noqa: B009 - only TorchRuntime has it
        if adapter is not None:
            _merge(network, checkpoint, adapter)
        with _hooks(network, observer):
            for done, asked in enumerate(questions, 1):
                model.ask(asked.image, asked.question, _options(asked))
                if progress:
                    progress(done)
    if not done:
        raise InputError("calibration needs at least one question: give some")


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


@contextmanager
def _hooks(network: Any, observer: Observer) -> Iterator[None]:
    """A hook on each matrix of the text model, the head included, for as long as this lasts."""
    import torch

    tied = network.lm_head.weight is network.get_input_embeddings().weight
    handles = []
    try:
        for name, module in network.named_modules():
            source = canonical(f"{name}.weight")
            if isinstance(module, torch.nn.Linear) and source and not source.startswith("visual."):
                target = EMBEDDING if source == HEAD and tied else source
                handles.append(module.register_forward_hook(_hook_for(target, observer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook_for(name: str, observer: Observer) -> Callable[[Any, tuple[Any, ...], Any], None]:
    def hook(_: Any, inputs: tuple[Any, ...], __: Any) -> None:
        values = inputs[0].detach().float().cpu()
        observer.add(name, values.reshape(-1, values.shape[-1]).numpy())

    return hook
