"""How much memory a model takes on a device: weights, caches and activations, computed from shapes.

Weights are compared with engines that were built ahead of time (a test holds them to 10%).
Activations are an upper estimate of what TensorRT keeps at once; they were never compared with a
running engine: not executed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from awares_edge.checkpoint.names import EMBEDDING, HEAD, expected_shapes
from awares_edge.errors import ExportError
from awares_edge.export.graph.vision import window_patches
from awares_edge.export.tensorrt.formats import NumberFormat, format_chooser
from awares_edge.export.tensorrt.targets import GIB, Target
from awares_edge.runtimes.tensorrt.plan import Plan
from awares_edge.spec import ModelSpec

SESSIONS = 2
"""Caches held at once while questions are asked: the system prompt's and the picture's."""

_ITEM = {"fp32": 4, "fp16": 2, "bf16": 2}
# Of the weights, while an engine is built: measured at 3.4 with one profile, 5.3 with two.
_BUILD_FACTOR = {False: 3.4, True: 5.3}


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes on the device.

    Attributes:
        text, vision: weights of the two engines.
        caches: KV caches of `SESSIONS` sessions.
        activations: of the larger of the two engines; they do not run at once.
        build: peak while the larger engine is built.
    """

    text: int
    vision: int
    caches: int
    activations: int
    build: int

    @property
    def total(self) -> int:
        return self.text + self.vision + self.caches + self.activations

    def describe(self) -> str:
        """ "5.1 GiB: text 3.4, vision 1.3, 2 caches 0.2, activations 0.2"."""
        parts = {
            "text": self.text,
            "vision": self.vision,
            f"{SESSIONS} caches": self.caches,
            "activations": self.activations,
        }
        return f"{self.total / GIB:.1f} GiB: " + ", ".join(
            f"{name} {size / GIB:.1f}" for name, size in parts.items()
        )


def estimate(spec: ModelSpec, plan: Plan) -> Estimate:
    """Memory of a model of this shape, built as planned."""
    text, vision = weight_bytes(spec, plan)
    if plan.rtx and plan.decode_profile:
        text *= 2
    factor = _BUILD_FACTOR[plan.decode_profile]
    return Estimate(
        text=text,
        vision=vision,
        caches=SESSIONS * cache_bytes(spec, plan),
        activations=max(_text_activations(spec, plan), _vision_activations(spec, plan)),
        build=int(max(text * factor, vision * _BUILD_FACTOR[False])),
    )


def cache_bytes(spec: ModelSpec, plan: Plan) -> int:
    """Bytes of one session's keys and values."""
    return spec.kv_values * _ITEM[plan.compute] * plan.cache_length


def weight_bytes(spec: ModelSpec, plan: Plan) -> tuple[int, int]:
    """Bytes of the text engine's and of the vision engine's weights.

    The embedding stays on the host; a tied head needs it in the engine as well.
    """
    item = _ITEM[plan.compute]
    format_of = format_chooser(replace(NumberFormat.of(plan), activations="float"))
    text = vision = 0
    shapes = expected_shapes(spec)
    if spec.tied:
        shapes[HEAD] = shapes[EMBEDDING]
    for name, (out, *rest) in shapes.items():
        inner = math.prod(rest)
        size = out * inner * item
        if rest:
            tensors = format_of(name, (out, inner)).tensors((out, inner))
            size = sum(tensor.size for tensor in tensors.values())
        if name.startswith("visual."):
            vision += size
        elif name != EMBEDDING:
            text += size
    return text, vision


def _text_activations(spec: ModelSpec, plan: Plan) -> int:
    item, tokens = _ITEM[plan.compute], plan.prefill.max
    cells = plan.cache_length + tokens
    wide = 4 * spec.hidden_size + 3 * spec.intermediate_size
    qkv = 2 * (spec.heads + 2 * spec.kv_heads) * spec.head_dim
    total = tokens * (wide + qkv) * item + plan.kept * spec.vocabulary * (4 + item)
    total += tokens * cells * (1 + item)  # the mask, and what is added to the scores
    # Scores and weights of all heads, as if TensorRT fused nothing; the joined keys and values.
    total += 2 * tokens * cells * spec.heads * item
    return total + 2 * cells * spec.kv_heads * spec.head_dim * item


def _vision_activations(spec: ModelSpec, plan: Plan) -> int:
    v, item, patches = spec.vision, _ITEM[plan.compute], plan.patches.max
    pixels = v.in_channels * v.temporal_patch_size * v.patch_size**2
    wide = 8 * v.hidden_size + 3 * v.intermediate_size
    total = patches * (pixels * (4 + item) + wide * item + 3 * v.intermediate_size * 4)
    if v.full_attention_blocks:
        total += 2 * patches * patches * v.heads * item
    length = window_patches(v)
    rows = plan.windows * length
    total += rows * (4 * v.hidden_size * item + length * (1 + item))
    return total + 2 * rows * length * v.heads * item


def check_fit(spec: ModelSpec, plan: Plan, target: Target) -> Estimate:
    """The estimate, if it fits.

    Raises:
        ExportError: it does not fit; says what would.
    """
    found = estimate(spec, plan)
    room = target.memory - target.reserved
    if found.total <= room:
        return found
    raise ExportError(
        f"{spec.name} needs {found.describe()}, and {target.title} has {room / GIB:.1f} GiB to "
        f"give: {_advice(plan, target, found, room)}"
    )


def _advice(plan: Plan, target: Target, found: Estimate, room: int) -> str:
    rest = room - (found.total - found.caches)
    cells = rest * plan.cache_length // found.caches // 64 * 64 if rest > 0 else 0
    if cells >= min(1024, plan.cache_length // 2):
        return f"a cache of {cells} cells would fit"
    smaller = [p for p in ("int8", "int4") if p in target.precisions and p != plan.weights]
    kinds = smaller if plan.weights == "float" else [p for p in smaller if p == "int4"]
    return f"use precision {kinds[-1]} or a smaller model" if kinds else "use a smaller model"
