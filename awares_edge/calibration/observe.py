"""Shows what goes into the matrices of a checkpoint while it answers questions.

The questions go through the product's own loop on transformers (runtime `torch`), with a hook on
each matrix of the vision tower and of the language model: text and pictures, low-res and crop
turns, prompt and answer, as the deployed model will see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.api import load
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.lora import Adapter, merge
from awares_edge.checkpoint.names import EMBEDDING, HEAD, canonical
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.export.measured import layer_name

_ANSWER_TOKENS = 32

Observer: TypeAlias = Callable[[str, NDArray[np.float32]], None]
"""Called with a layer's name and its inputs, float32 [n, in]; a tied head has the embedding's."""


def observe(
    checkpoint: Checkpoint,
    questions: Iterable[CalibrationQuestion],
    observer: Observer,
    *,
    adapter: Adapter | None = None,
    protocol: str | None = None,
    device: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Ask each question of a checkpoint and show an observer what goes through it.

    Args:
        adapter: to merge first, as the export will.
        protocol: name of the profile that the checkpoint was trained with; None as for `load`.
        progress: called with how many questions are done.

    Returns:
        how many questions had a second turn.

    Raises:
        CheckpointError, ImageError, QuestionError: an input cannot be used.
        RuntimeUnavailable: torch or transformers is missing.
    """
    zoomed = 0
    with load(checkpoint.root, runtime="torch", protocol=protocol, device=device) as model:
        network = network_of(model)
        if adapter is not None:
            put_weights(network, merge(checkpoint, adapter))
        with hooks(network, observer):
            for done, asked in enumerate(questions, 1):
                answer = model.ask(asked.image, asked.question, _options(asked))
                zoomed += bool(answer.crops)
                if progress:
                    progress(done)
    return zoomed


def network_of(model: Model) -> Any:
    """transformers' model behind a loaded checkpoint."""
    return getattr(model.runtime, "model")  # noqa: B009 - only TorchRuntime has it


def put_weights(network: Any, weights: Weights) -> None:
    """Put a checkpoint's weights, with an adapter or smoothed, into a loaded network."""
    import torch

    with torch.no_grad():
        for stored, parameter in network.named_parameters():
            if name := canonical(stored):
                tensor = weights.tensor(name)
                rows = torch.from_numpy(tensor.rows(0, tensor.shape[0]))
                parameter.copy_(rows.reshape(parameter.shape))


def linear_layers(network: Any) -> Iterator[tuple[str, Any]]:
    """Each matrix of a loaded network as (name of the layer, module), the head included."""
    import torch

    tied = network.lm_head.weight is network.get_input_embeddings().weight
    for name, module in network.named_modules():
        source = canonical(f"{name}.weight")
        if isinstance(module, torch.nn.Linear) and source:
            yield layer_name(EMBEDDING if source == HEAD and tied else source), module


def _options(asked: CalibrationQuestion) -> AskOptions:
    if asked.crops is None:
        return AskOptions(max_new_tokens=_ANSWER_TOKENS)
    if not asked.crops:
        return AskOptions(mode="low", max_new_tokens=_ANSWER_TOKENS)
    return AskOptions(crops=asked.crops, max_new_tokens=_ANSWER_TOKENS)


@contextmanager
def hooks(network: Any, observer: Observer) -> Iterator[None]:
    """Show an observer what goes into each matrix of a network, for as long as this lasts."""
    handles = []
    try:
        for name, module in linear_layers(network):
            handles.append(module.register_forward_hook(_hook_for(name, observer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook_for(name: str, observer: Observer) -> Callable[[Any, tuple[Any, ...], Any], None]:
    def hook(_: Any, inputs: tuple[Any, ...], __: Any) -> None:
        values = inputs[0].detach().float().cpu()
        observer(name, values.reshape(-1, values.shape[-1]).numpy())

    return hook
