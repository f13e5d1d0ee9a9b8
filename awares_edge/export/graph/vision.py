"""The vision tower's graph: one picture a call; everything but its attention.

Inputs (P patches, T tokens, W windows of at most L patches; see `awares_edge.vision.windows`):
    pixel_values  float32 [P, 1176], merge-block order
    patch_order  int64 [P]; token_place  int64 [T]
    window_index  int64 [W, L]; window_places  int64 [P]
    rotary tables and the windows' padding: as the `VisionAttention` declares them
Output:
    image_features  float32 [T, hidden], raster order

Everything that depends only on the grid comes from the host, so that the graph needs no control
flow; one picture a call needs no boundaries between pictures. Windows are gathered into rows of
equal length, so that attention costs W * L * L: one mask over all patches would cost P * P.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from awares_edge.export.graph.builder import Builder
from awares_edge.export.graph.weights import FP32
from awares_edge.spec import ModelSpec, VisionSpec

_EPS = 1e-6


class VisionAttention(ABC):
    """A dialect's rotary embedding and attention. One object a graph."""

    window: int | str
    """Size of the second axis of `window_index`, or its name where it is free."""

    @abstractmethod
    def inputs(self, windowed: bool) -> None:
        """Declare the rotary tables and, if any block is windowed, the windows' padding."""

    @abstractmethod
    def rotate(self, value: str) -> str:
        """Rotary embedding of queries or keys [P, hidden] in window order."""

    @abstractmethod
    def attend(self, q: str, k: str, v: str, *, windowed: bool) -> str:
        """Attention over [P, hidden], or windowed over [W, L, hidden].

        Returns:
            [P, hidden], or [W * L, hidden].
        """

    def attend_windows(self, g: Builder, q: str, k: str, v: str) -> str:
        """Attention within each window, over [P, hidden]: windows gathered into rows, and back."""
        return gather_windows(g, self, q, k, v)


def window_patches(vision: VisionSpec) -> int:
    """Patches of a whole window, L."""
    side = vision.window_size // vision.merge_size // vision.patch_size
    return int((side * vision.merge_size) ** 2)


def build_vision(g: Builder, spec: ModelSpec, attention: VisionAttention) -> None:
    """Add the vision tower, patch merger included, to an empty graph."""
    v = spec.vision
    _inputs(g, v, attention)
    x = g.linear(g.narrow("pixel_values"), "visual.patch_embed.proj")
    x = g.op("Gather", x, "patch_order", axis=0)
    normed = g.rms_norm(x, "visual.blocks.0.norm1", _EPS)
    for block in range(v.depth):
        at = f"visual.blocks.{block}"
        windowed = block not in v.full_attention_blocks
        attended = _attention(g, at, normed, v.hidden_size, attention, windowed=windowed)
        normed, x = g.add_rms_norm(attended, x, f"{at}.norm2", _EPS)
        gate, up = (g.linear(normed, f"{at}.mlp.{part}_proj", bias=True) for part in ("gate", "up"))
        if block + 1 < v.depth:
            down = g.linear(g.op("Mul", g.silu(gate), up), f"{at}.mlp.down_proj", bias=True)
            normed, x = g.add_rms_norm(down, x, f"visual.blocks.{block + 1}.norm1", _EPS)
        else:
            normed = _leave_tower(g, at, gate, up, x)
    merged = g.reshape(normed, -1, v.hidden_size * v.merge_size**2)
    merged = g.gelu(g.linear(merged, "visual.merger.mlp.0", bias=True))
    merged = g.widen(g.linear(merged, "visual.merger.mlp.2", bias=True))
    g.op("Gather", merged, "token_place", outputs=["image_features"], axis=0)
    g.output("image_features", FP32, ["tokens", v.out_hidden_size])


def _inputs(g: Builder, v: VisionSpec, attention: VisionAttention) -> None:
    pixels = v.in_channels * v.temporal_patch_size * v.patch_size**2
    g.input("pixel_values", FP32, ["patches", pixels])
    g.input("patch_order", np.int64, ["patches"])
    g.input("token_place", np.int64, ["tokens"])
    windowed = bool(set(range(v.depth)) - set(v.full_attention_blocks))
    attention.inputs(windowed)
    if windowed:
        g.input("window_index", np.int64, ["windows", attention.window])
        g.input("window_places", np.int64, ["patches"])


def _attention(
    g: Builder, at: str, x: str, size: int, attention: VisionAttention, *, windowed: bool
) -> str:
    q, k, v = g.split(g.linear(x, f"{at}.attn.qkv", bias=True), [size] * 3)
    q, k = attention.rotate(q), attention.rotate(k)
    if windowed:
        out = attention.attend_windows(g, q, k, v)
    else:
        out = attention.attend(q, k, v, windowed=False)
    return g.linear(out, f"{at}.attn.proj", bias=True)


def gather_windows(g: Builder, attention: VisionAttention, q: str, k: str, v: str) -> str:
    """Attention over [P, hidden] in rows of one window each: gathered, attended, gathered back."""
    q, k, v = (g.op("Gather", part, "window_index", axis=0) for part in (q, k, v))
    out = attention.attend(q, k, v, windowed=True)
    return g.op("Gather", out, "window_places", axis=0)


def _leave_tower(g: Builder, at: str, gate: str, up: str, residual: str) -> str:
    """The end of the last block and the merger's norm: in float32 at every precision.

    The last block's down_proj exceeds float16's range in the published 3B and 7B models.
    """
    gate, up, residual = (g.widen(value) for value in (gate, up, residual))
    down = g.wide_linear(g.op("Mul", g.silu(gate), up), f"{at}.mlp.down_proj")
    total = g.op("Add", down, residual)
    return g.narrow(g.rms_norm(total, "visual.merger.ln_q", _EPS, dtype=FP32))
