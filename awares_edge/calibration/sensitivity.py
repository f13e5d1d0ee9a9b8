"""How far the logits of decisions move when one matrix alone is quantized.

The checkpoint computes in transformers with its outliers smoothed, as an export would smooth them.
One matrix at a time is rounded as ONNX stores it, and its inputs as onnxruntime rounds them; the
first logits of each reply are compared with those of the exact model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.api import load
from awares_edge.calibration.observe import linear_layers, network_of, put_weights
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.checkpoint.checkpoint import Checkpoint
from awares_edge.checkpoint.lora import Adapter, merge
from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.evaluation.watch import WatchedSession, assistant_opening, watch
from awares_edge.export.hessians import Hessian, input_owner
from awares_edge.export.measured import DRIFT_BLOCK, Measured, layer_names
from awares_edge.export.onnx.formats import BlockInt4, DynamicInt8
from awares_edge.export.smoothing import smooth
from awares_edge.export.smoothing.sites import site_matrices
from awares_edge.spec import ModelSpec

Format: TypeAlias = DynamicInt8 | BlockInt4
Floats: TypeAlias = NDArray[np.float32]

QUESTIONS = 8
"""How many questions are asked for each matrix and format."""


def measure_drifts(
    checkpoint: Path,
    questions: Sequence[CalibrationQuestion],
    measured: Measured,
    *,
    adapter: Path | None = None,
    protocol: str | None = None,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """The same statistics, with the drift of each matrix at int8 and at int4.

    Args:
        questions: `QUESTIONS` of them are asked, evenly spread.
        measured: of this checkpoint and adapter; it says how outliers are smoothed.
        progress: called with (matrices done, all).

    Raises:
        CheckpointError, ImageError, QuestionError, RuntimeUnavailable: as for `observe`.
    """
    base = Checkpoint.open(checkpoint)
    weights = base if adapter is None else merge(base, Adapter.open(adapter, base))
    asked = [questions[i] for i in np.linspace(0, len(questions) - 1, QUESTIONS).astype(int)]
    with load(checkpoint, runtime="torch", protocol=protocol, device=device) as model:
        network = network_of(model)
        smoothed = smooth(weights, base.spec, measured, _formats_of)
        put_weights(network, smoothed.weights)
        layers = dict(linear_layers(network))
        exact = decision_logits(model, asked)
        # After the last attention an export computes only the tokens that get logits.
        behind_gather = {name for name in layers if name.startswith(last_layer(base.spec))}
        names = list(site_matrices(base.spec))
        drifts: dict[str, dict[str, float]] = {}
        for done, name in enumerate(names, 1):
            parts = layer_names(name)
            modules = [layers[part] for part in parts]
            found = drifts[parts[0]] = {}
            hessian = smoothed.measured.hessians.get(input_owner(parts[0]))
            for kind, format in formats_for(modules[0].weight.shape[1], hessian).items():
                with rounded(modules, format, last=parts[0] in behind_gather):
                    found[kind] = drift(decision_logits(model, asked), exact)
            if progress:
                progress(done, len(names))
    return replace(measured, drifts=drifts)


def formats_for(inner: int, hessian: Hessian | None = None) -> dict[str, Format]:
    """Quantized formats of a matrix with rows of this length; 4 bits only where blocks fit."""
    formats: dict[str, Format] = {"int8": DynamicInt8()}
    block = next((b for b in (DRIFT_BLOCK, 32) if inner % b == 0), 0)
    formats["int4"] = BlockInt4(block, hessian) if block else DynamicInt8()
    return formats


def decision_logits(model: Model, questions: Sequence[CalibrationQuestion]) -> Floats:
    """The first logits of each reply, float32 [replies, vocabulary]: behind the low-res view and,
    where a question names crops, behind the crops."""
    rows: list[Floats] = []
    opening = assistant_opening(model)

    def note(session: WatchedSession, logits: Floats) -> Floats:
        if tuple(session.ids[-len(opening) :]) == opening:
            rows.append(logits[-1].copy())
        return logits

    # A separate model: no KV from other weights is reused.
    watched, _ = watch(model, note)
    with watched:
        for asked in questions:
            way: Mapping[str, Any] = {"crops": asked.crops} if asked.crops else {"mode": "low"}
            watched.ask(asked.image, asked.question, AskOptions(max_new_tokens=1, **way))
    return np.stack(rows)


def drift(logits: Floats, exact: Floats) -> float:
    """Mean over rows of the squared difference, over the variance of the exact row."""
    wide = exact.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    difference = np.square(logits - wide).sum(axis=1)
    return float((difference / np.square(centred).sum(axis=1)).mean())


def last_layer(spec: ModelSpec) -> tuple[str, ...]:
    """How the names begin of what follows the last attention."""
    at = f"text.layers.{spec.layers - 1}"
    return f"{at}.self_attn.o_proj", f"{at}.mlp."


@contextmanager
def rounded(modules: Sequence[Any], format: Format, *, last: bool = False) -> Iterator[None]:
    """Linear modules of torch compute as a quantized format does, for as long as this lasts.

    Args:
        last: round only the inputs of the last token: the others are not computed on a device.
    """
    import torch

    kept = [module.weight for module in modules]
    handles = []
    try:
        for module in modules:
            weight = module.weight.detach()
            rows = torch.from_numpy(format.round_trip(weight.float().cpu().numpy()))
            # A new parameter: a tied head is rounded, the embedding is not.
            module.weight = torch.nn.Parameter(rows.to(weight), requires_grad=False)
            handles.append(module.register_forward_pre_hook(_rounds_inputs(format, last)))
        yield
    finally:
        for module, weight in zip(modules, kept, strict=True):
            module.weight = weight
        for handle in handles:
            handle.remove()


def _rounds_inputs(format: Format, last: bool) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
    block = format.rounding.input_block

    def hook(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        values = inputs[0].clone()
        kept = values[..., -1:, :] if last else values
        kept.copy_(_by_token(kept, block) if block else _by_call(kept))
        return (values, *inputs[1:])

    return hook


def _by_call(values: Any) -> Any:
    """uint8 with one scale and one zero for all (ONNX's DynamicQuantizeLinear)."""
    low, high = values.min().clamp(max=0), values.max().clamp(min=0)
    step = ((high - low) / 255).clamp(min=1e-20)
    zero = (-low / step).round()
    return ((values / step).round() + zero).clamp(0, 255).sub(zero) * step


def _by_token(values: Any, block: int) -> Any:
    """int8 with one scale for each token and block (MatMulNBits at accuracy level 4)."""
    blocks = values.reshape(*values.shape[:-1], -1, block)
    step = (blocks.abs().amax(dim=-1, keepdim=True) / 127).clamp(min=1e-20)
    return ((blocks / step).round() * step).reshape(values.shape)


def _formats_of(name: str, shape: tuple[int, int]) -> list[Format]:
    """A tied head shares its weights with the embedding in transformers, so it stays as it is."""
    return [] if name == EMBEDDING else list(formats_for(shape[1]).values())
