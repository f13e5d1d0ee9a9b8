"""Where a scale of input channels can be folded into what makes these inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.names import EMBEDDING, HEAD
from awares_edge.spec import ModelSpec, VisionSpec


@dataclass(frozen=True, slots=True)
class Site:
    """Inputs that one or several matrices read, and what makes them.

    Attributes:
        matrices: names of the matrices, "a.weight+b.weight" where a graph joins them.
        sources: tensors whose rows are divided: a norm's weight, or weight and bias of the layer
            before. Empty where nothing can be folded, as behind GELU.
        start: the first of these rows.
        scales: [in], which scale belongs to each input channel; channels that are made of the same
            row share one.
    """

    matrices: tuple[str, ...]
    sources: tuple[str, ...]
    scales: NDArray[np.intp]
    start: int = 0

    @property
    def count(self) -> int:
        """How many scales there are."""
        return int(self.scales.max()) + 1


def find_sites(spec: ModelSpec) -> Iterator[Site]:
    """Every site of a model, each after the one that its sources read from."""
    yield from _vision(spec.vision)
    for layer in range(spec.layers):
        yield from _text_layer(spec, f"text.layers.{layer}")
    yield _norm("text.norm", spec.hidden_size, EMBEDDING if spec.tied else HEAD)


def site_matrices(spec: ModelSpec) -> Iterator[str]:
    """Names of the matrices of every site: all of a model but the patch embedding."""
    for site in find_sites(spec):
        yield from site.matrices


def _norm(name: str, width: int, *matrices: str, repeat: int = 1) -> Site:
    """Matrices that read a norm; `repeat` rows of it side by side."""
    return Site(matrices, (f"{name}.weight",), np.tile(np.arange(width), repeat))


def _product(at: str, width: int, *, bias: bool) -> Site:
    """down_proj reads silu(gate) * up: a row of up_proj scales one of its inputs."""
    sources = (f"{at}.up_proj.weight", *((f"{at}.up_proj.bias",) if bias else ()))
    return Site((f"{at}.down_proj.weight",), sources, np.arange(width))


def _text_layer(spec: ModelSpec, at: str) -> Iterator[Site]:
    attention = f"{at}.self_attn"
    joined = "+".join(f"{attention}.{part}_proj.weight" for part in "qkv")
    yield _norm(f"{at}.input_layernorm", spec.hidden_size, joined)
    # Attention mixes the values of tokens, not of channels. The query heads of a group read the
    # same value head.
    group = spec.heads // spec.kv_heads
    values = np.arange(spec.kv_heads * spec.head_dim).reshape(spec.kv_heads, spec.head_dim)
    yield Site(
        (f"{attention}.o_proj.weight",),
        (f"{attention}.v_proj.weight", f"{attention}.v_proj.bias"),
        np.repeat(values, group, axis=0).reshape(-1),
    )
    gate_up = (f"{at}.mlp.{part}_proj.weight" for part in ("gate", "up"))
    yield _norm(f"{at}.post_attention_layernorm", spec.hidden_size, *gate_up)
    yield _product(f"{at}.mlp", spec.intermediate_size, bias=False)


def _vision(v: VisionSpec) -> Iterator[Site]:
    width = v.hidden_size
    for block in range(v.depth):
        at = f"visual.blocks.{block}"
        yield _norm(f"{at}.norm1", width, f"{at}.attn.qkv.weight")
        yield Site(
            (f"{at}.attn.proj.weight",),
            (f"{at}.attn.qkv.weight", f"{at}.attn.qkv.bias"),
            np.arange(width),
            start=2 * width,
        )
        gate_up = (f"{at}.mlp.{part}_proj.weight" for part in ("gate", "up"))
        yield _norm(f"{at}.norm2", width, *gate_up)
        yield _product(f"{at}.mlp", v.intermediate_size, bias=True)
    merged = v.merge_size**2
    yield _norm("visual.merger.ln_q", width, "visual.merger.mlp.0.weight", repeat=merged)
    yield Site(("visual.merger.mlp.2.weight",), (), np.arange(width * merged))
