"""The vision tower's graph for TensorRT: one picture a call.

Inputs (P patches, T tokens, W windows of L patches; see `awares_edge.vision.windows`):
    pixel_values  float32 [P, 1176], merge-block order
    patch_order  int64 [P]; token_place  int64 [T]
    rotary_cos, rotary_sin  float32 [P, head_dim / 2], window order
    window_index  int64 [W, L]; window_places  int64 [P]
    window_mask  bool [W, 1, L, L], True where a patch may look
Output:
    image_features  float32 [T, hidden], raster order

Windows are gathered into rows of equal length, so that attention costs W * L * L: one mask over all
patches would cost P * P. Everything that depends on the grid alone comes from the host.
"""

from __future__ import annotations

import numpy as np

from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.export.onnx.graph import FP32
from awares_edge.export.tensorrt.formats import Form, NumberFormat
from awares_edge.export.tensorrt.graph import TensorrtGraph
from awares_edge.spec import ModelSpec, VisionSpec

_EPS = 1e-6
_HEADROOM = 64.0


def window_patches(vision: VisionSpec) -> int:
    """Patches of a whole window, L."""
    side = vision.window_size // vision.merge_size // vision.patch_size
    return int((side * vision.merge_size) ** 2)


def build_vision(
    spec: ModelSpec, weights: Weights, numbers: NumberFormat, form: Form
) -> TensorrtGraph:
    """Graph of the vision tower, patch merger included.

    Its weights are never quantized: the tower is bound by arithmetic, which weight-only formats do
    not reduce, and it is where small print is read.
    """
    v = spec.vision
    g = TensorrtGraph("vision", weights, numbers, form, plain=True)
    half = v.hidden_size // v.heads // 2
    length = window_patches(v)
    g.input(
        "pixel_values", FP32, ["patches", v.in_channels * v.temporal_patch_size * v.patch_size**2]
    )
    g.input("patch_order", np.int64, ["patches"])
    g.input("token_place", np.int64, ["tokens"])
    g.input("rotary_cos", FP32, ["patches", half])
    g.input("rotary_sin", FP32, ["patches", half])
    if set(range(v.depth)) - set(v.full_attention_blocks):
        g.input("window_index", np.int64, ["windows", length])
        g.input("window_mask", np.bool_, ["windows", 1, length, length])
        g.input("window_places", np.int64, ["patches"])

    x, cos, sin = (
        name if g.compute == FP32 else g.cast(name, g.compute)
        for name in ("pixel_values", "rotary_cos", "rotary_sin")
    )
    x = g.linear(x, "visual.patch_embed.proj")
    x = g.op("Gather", x, "patch_order", axis=0)
    normed = g.rms_norm(x, "visual.blocks.0.norm1", _EPS)
    for block in range(v.depth):
        at = f"visual.blocks.{block}"
        windowed = block not in v.full_attention_blocks
        attended = _attention(g, v, at, normed, cos, sin, windowed=windowed)
        normed, x = g.add_rms_norm(attended, x, f"{at}.norm2", _EPS)
        gate = g.linear(normed, f"{at}.mlp.gate_proj", bias=True)
        up = g.linear(normed, f"{at}.mlp.up_proj", bias=True)
        if block + 1 < v.depth:
            down = g.linear(g.op("Mul", g.silu(gate), up), f"{at}.mlp.down_proj", bias=True)
            normed, x = g.add_rms_norm(down, x, f"visual.blocks.{block + 1}.norm1", _EPS)
        else:
            normed = _leave_tower(g, at, gate, up, x)
    merged = g.reshape(normed, -1, v.hidden_size * v.merge_size**2)
    merged = g.gelu(g.linear(merged, "visual.merger.mlp.0", bias=True))
    merged = g.linear(merged, "visual.merger.mlp.2", bias=True)
    if g.compute != FP32:
        merged = g.cast(merged, FP32)
    g.op("Gather", merged, "token_place", outputs=["image_features"], axis=0)
    g.output("image_features", FP32, ["tokens", v.out_hidden_size])
    return g


def _attention(
    g: TensorrtGraph, v: VisionSpec, at: str, x: str, cos: str, sin: str, *, windowed: bool
) -> str:
    d, width = v.hidden_size, v.hidden_size // v.heads
    parts = g.split(g.linear(x, f"{at}.attn.qkv", bias=True), [d, d, d])
    q, k = (g.rotate(g.heads(part, v.heads, width), cos, sin, width) for part in parts[:2])
    if not windowed:
        values = g.heads(parts[2], v.heads, width)
        out = g.attend(q, k, values, None, heads=v.heads, kv_heads=v.heads, width=width)
        return g.linear(g.joined(out, d), f"{at}.attn.proj", bias=True)
    flat = g.joined(q, d), g.joined(k, d), parts[2]
    q, k, values = (
        g.heads(
            g.op("Gather", part, "window_index", axis=0), v.heads, width, rows=window_patches(v)
        )
        for part in flat
    )
    out = g.attend(q, k, values, "window_mask", heads=v.heads, kv_heads=v.heads, width=width)
    out = g.op("Gather", g.joined(out, d), "window_places", axis=0)
    return g.linear(out, f"{at}.attn.proj", bias=True)


def _leave_tower(g: TensorrtGraph, at: str, gate: str, up: str, residual: str) -> str:
    """The end of the last block and the merger's norm: around float16's range, whatever the rest is
    in.

    The last block's down_proj exceeds float16's range in the published 3B and 7B models. Its input
    is scaled down before and its output scaled up after, in float32; the product itself stays in
    float16, because Turing GPUs have no float32 one.
    """
    if g.compute == FP32:
        down = g.linear(g.op("Mul", g.silu(gate), up), f"{at}.mlp.down_proj", bias=True)
        return g.rms_norm(g.op("Add", down, residual), "visual.merger.ln_q", _EPS)
    gate, up, residual = (g.cast(value, FP32) for value in (gate, up, residual))
    active = g.op("Mul", g.silu(gate), up)
    small = g.cast(g.op("Mul", active, g.scalar(1 / _HEADROOM, FP32)), g.compute)
    down = g.cast(g.linear(small, f"{at}.mlp.down_proj"), FP32)
    down = g.op("Mul", down, g.scalar(_HEADROOM, FP32))
    down = g.op("Add", down, g.vector(f"{at}.mlp.down_proj.bias", dtype=FP32))
    total = g.op("Add", down, residual)
    return g.cast(g.rms_norm(total, "visual.merger.ln_q", _EPS, dtype=FP32), g.compute)
