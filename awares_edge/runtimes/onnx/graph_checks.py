"""Checks of untrusted graphs: inputs and outputs as the manifest's model has them, runs that fail.

The shapes are those that `awares_edge.export` writes; a named dimension differs from call to call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import onnxruntime as ort

from awares_edge.errors import BundleError
from awares_edge.spec import ModelSpec

_FP32, _FP16 = "tensor(float)", "tensor(float16)"
_INT32, _INT64 = "tensor(int32)", "tensor(int64)"
_COMPUTE = "compute"
"""float32 or float16: the same for all values of a graph that have it."""

Signature: TypeAlias = dict[str, tuple[str, tuple[int | None, ...]]]
"""Type and shape by name; None for a dimension that differs from call to call."""


def check_graph(session: ort.InferenceSession, name: str, spec: ModelSpec) -> None:
    """Check a loaded graph against the model that it must compute.

    Args:
        name: "text" or "vision".

    Raises:
        BundleError: an input or output is missing, unknown, or of another type or shape.
    """
    inputs, outputs = {"text": _text, "vision": _vision}[name](spec)
    found = {node.name for node in session.get_inputs()}
    if name == "vision" and not found & _WINDOWS:
        # Exported without windows where every block attends over the whole picture.
        inputs = {key: value for key, value in inputs.items() if key not in _WINDOWS}
    compute: set[str] = set()
    for nodes, expected in ((session.get_inputs(), inputs), (session.get_outputs(), outputs)):
        if {node.name for node in nodes} != set(expected):
            raise _foreign(name, "inputs or outputs")
        for node in nodes:
            kind, shape = expected[node.name]
            if kind == _COMPUTE:
                compute.add(node.type)
            elif node.type != kind:
                raise _foreign(name, node.name)
            if not _fits(node.shape, shape):
                raise _foreign(name, node.name)
    if len(compute) != 1 or not compute <= {_FP32, _FP16}:
        raise _foreign(name, "number format")


@contextmanager
def running(name: str) -> Iterator[None]:
    """Turn a graph's failure to compute into one line.

    Raises:
        BundleError: onnxruntime raised an error.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        reason = str(error).splitlines()[0][:200]
        raise BundleError(f"onnxruntime cannot compute the {name} graph: {reason}") from error


def check_features(features: Any, tokens: int, hidden: int) -> None:
    """
    Raises:
        BundleError: the vision graph did not give `tokens` features of `hidden` numbers.
    """
    if getattr(features, "shape", None) != (tokens, hidden):
        raise _foreign("vision", "features of another shape")


_WINDOWS = {"window_index", "window_lengths", "window_places"}


def _text(spec: ModelSpec) -> tuple[Signature, Signature]:
    cache = (1, spec.kv_heads, None, spec.head_dim)
    parts = [f"{layer}.{part}" for layer in range(spec.layers) for part in ("key", "value")]
    half = (None, spec.head_dim // 2)
    inputs: Signature = {
        "inputs_embeds": (_FP32, (None, spec.hidden_size)),
        "seqlens_k": (_INT32, (1,)),
        "total_sequence_length": (_INT32, ()),
        "logits_index": (_INT64, (None,)),
        "rotary_cos": (_COMPUTE, half),
        "rotary_sin": (_COMPUTE, half),
        **{f"past_key_values.{part}": (_COMPUTE, cache) for part in parts},
    }
    outputs: Signature = {
        "logits": (_FP32, (None, spec.vocabulary)),
        **{f"present.{part}": (_COMPUTE, cache) for part in parts},
    }
    return inputs, outputs


def _vision(spec: ModelSpec) -> tuple[Signature, Signature]:
    v = spec.vision
    half = (None, v.hidden_size // v.heads // 2)
    inputs: Signature = {
        "pixel_values": (_FP32, (None, v.in_channels * v.temporal_patch_size * v.patch_size**2)),
        "patch_order": (_INT64, (None,)),
        "token_place": (_INT64, (None,)),
        "rotary_cos": (_COMPUTE, half),
        "rotary_sin": (_COMPUTE, half),
        "window_index": (_INT64, (None, None)),
        "window_lengths": (_INT32, (None,)),
        "window_places": (_INT64, (None,)),
    }
    return inputs, {"image_features": (_FP32, (None, spec.hidden_size))}


def _fits(found: Sequence[Any], expected: Sequence[int | None]) -> bool:
    return len(found) == len(expected) and all(
        not isinstance(a, int) if b is None else a == b
        for a, b in zip(found, expected, strict=True)
    )


def _foreign(graph: str, what: str) -> BundleError:
    return BundleError(
        f"the {graph} graph does not fit the manifest's model ({what}): export the bundle again"
    )
