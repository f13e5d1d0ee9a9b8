"""The vision tower's graph: one picture a call.

Inputs (P patches, T tokens, W windows of at most L patches; see `awares_edge.vision.windows`):
    pixel_values  [P, 1176], merge-block order
    patch_order   int64 [P]; token_place int64 [T]
    rotary_cos, rotary_sin  [P, head_dim / 2], window order
    window_index  int64 [W, L]; window_lengths int32 [W]; window_places int64 [P]
Output:
    image_features  float32 [T, hidden], raster order

Everything that depends on the grid alone comes from the host, so that the graph has no control
flow; one picture a call needs no boundaries between pictures.
"""

from __future__ import annotations

import numpy as np

from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.export.onnx.graph import FP32, MICROSOFT, Graph, Precision
from awares_edge.spec import ModelSpec

_EPS = 1e-6


def build_vision(spec: ModelSpec, weights: Weights, precision: Precision) -> Graph:
    """Graph of the vision tower, patch merger included."""
    v = spec.vision
    g = Graph("vision", weights, precision)
    half = v.hidden_size // v.heads // 2
    pixels = v.in_channels * v.temporal_patch_size * v.patch_size**2
    g.input("pixel_values", FP32, ["patches", pixels])
    g.input("patch_order", np.int64, ["patches"])
    g.input("token_place", np.int64, ["tokens"])
    g.input("rotary_cos", precision.compute, ["patches", half])
    g.input("rotary_sin", precision.compute, ["patches", half])
    if set(range(v.depth)) - set(v.full_attention_blocks):
        g.input("window_index", np.int64, ["windows", "window"])
        g.input("window_lengths", np.int32, ["windows"])
        g.input("window_places", np.int64, ["patches"])

    x = "pixel_values" if precision.compute == FP32 else g.cast("pixel_values", precision.compute)
    x = g.linear(x, "visual.patch_embed.proj")
    x = g.op("Gather", x, "patch_order", axis=0)
    normed = g.rms_norm(x, "visual.blocks.0.norm1", _EPS)
    for block in range(v.depth):
        at = f"visual.blocks.{block}"
        attended = _attention(g, spec, at, normed, windowed=block not in v.full_attention_blocks)
        normed, x = g.add_rms_norm(attended, x, f"{at}.norm2", _EPS)
        if block + 1 < v.depth:
            down = _mlp(g, at, normed)
            normed, x = g.add_rms_norm(down, x, f"visual.blocks.{block + 1}.norm1", _EPS)
        else:
            merged = _last_mlp_and_merger_norm(g, at, normed, x)
    merged = g.reshape(merged, -1, v.hidden_size * v.merge_size**2)
    merged = g.op("Gelu", g.linear(merged, "visual.merger.mlp.0", bias=True))
    merged = g.linear(merged, "visual.merger.mlp.2", bias=True)
    if precision.compute != FP32:
        merged = g.cast(merged, FP32)
    g.op("Gather", merged, "token_place", outputs=["image_features"], axis=0)
    g.output("image_features", FP32, ["tokens", v.out_hidden_size])
    return g


def _attention(g: Graph, spec: ModelSpec, at: str, x: str, *, windowed: bool) -> str:
    v = spec.vision
    d = v.hidden_size
    zero = g.integers([0])
    qkv = g.split(g.linear(x, f"{at}.attn.qkv", bias=True), [d, d, d])
    # RotaryEmbedding wants [batch, patches, d]; position 0 counts up, so row i is patch i's.
    q, k, v_ = (g.op("Unsqueeze", part, zero) for part in qkv)
    q, k = (
        g.op("RotaryEmbedding", part, zero, "rotary_cos", "rotary_sin", domain=MICROSOFT)
        for part in (q, k)
    )
    if not windowed:
        out = g.op("MultiHeadAttention", q, k, v_, domain=MICROSOFT, num_heads=v.heads)
        return g.linear(g.reshape(out, -1, d), f"{at}.attn.proj", bias=True)
    q, k = g.reshape(q, -1, d), g.reshape(k, -1, d)
    q, k, v_ = (g.op("Gather", part, "window_index", axis=0) for part in (q, k, qkv[2]))
    out = g.op(
        "MultiHeadAttention",
        *(q, k, v_, "", "window_lengths"),
        domain=MICROSOFT,
        num_heads=v.heads,
    )
    out = g.op("Gather", g.reshape(out, -1, d), "window_places", axis=0)
    return g.linear(out, f"{at}.attn.proj", bias=True)


def _mlp(g: Graph, at: str, x: str) -> str:
    gate = g.linear(x, f"{at}.mlp.gate_proj", bias=True)
    up = g.linear(x, f"{at}.mlp.up_proj", bias=True)
    return g.linear(g.op("Mul", g.silu(gate), up), f"{at}.mlp.down_proj", bias=True)


def _last_mlp_and_merger_norm(g: Graph, at: str, x: str, residual: str) -> str:
    """The end of the last block and the merger's norm: in float32, whatever the rest is in.

    The last block's down_proj exceeds float16's range in the published 3B and 7B models.
    """
    compute = g.precision.compute
    gate = g.linear(x, f"{at}.mlp.gate_proj", bias=True)
    up = g.linear(x, f"{at}.mlp.up_proj", bias=True)
    if compute != FP32:
        gate, up, residual = (g.cast(value, FP32) for value in (gate, up, residual))
    active = g.op("Mul", g.silu(gate), up)
    down = g.linear(active, f"{at}.mlp.down_proj", bias=True, dtype=FP32)
    total = g.op("Add", down, residual)
    normed = g.rms_norm(total, "visual.merger.ln_q", _EPS, dtype=FP32)
    return normed if compute == FP32 else g.cast(normed, compute)
