"""The language model's graph for TensorRT: append S embeddings to a KV cache of C cells.

Inputs (compute = fp32, fp16 or bf16):
    inputs_embeds  float32 [1, S, hidden]; features of pictures are spliced in by the host
    position_ids  int64 [3, 1, S], M-RoPE positions (t, h, w)
    logits_index  int64 [K], which of the S positions get logits
    past_key_values.{i}.key, .value  compute [1, kv_heads, C, head_dim]
  trt-kv:
    write_indices  int64 [1], the cell that the first of the S tokens goes to
    attention_mask  bool [1, 1, S, C], True where a token may look (its own cell and those before)
  trt-legacy:
    attention_mask  bool [1, 1, S, C + S], cells of the cache first, then the S new tokens
Outputs:
    logits  float32 [K, vocabulary]
  trt-kv:
    present.{i}.key, .value  like the past ones; bind the same buffers
  trt-legacy:
    new.{i}.key, .value  compute [1, kv_heads, S, head_dim]; the runtime copies them to their cells

Batch is 1: one conversation a call.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from awares_edge.checkpoint.names import EMBEDDING, HEAD
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.export.onnx.graph import FP32, Shape
from awares_edge.export.onnx.weights import Location
from awares_edge.export.tensorrt.formats import Form, NumberFormat
from awares_edge.export.tensorrt.graph import TensorrtGraph
from awares_edge.spec import ModelSpec
from awares_edge.vision.windows import rotary_frequencies


def build_text(
    spec: ModelSpec,
    weights: Weights,
    numbers: NumberFormat,
    form: Form,
    embedding: Location,
    cache_length: int,
    ranges: Mapping[str, float] | None = None,
) -> TensorrtGraph:
    """Graph of the language model.

    Args:
        embedding: where the embedding lies; a tied head of float format reads it there.
        cache_length: cells of the cache, C.
        ranges: see `TensorrtGraph`.

    Raises:
        ExportError: ranges are needed and one is missing.
    """
    g = TensorrtGraph("text", weights, numbers, form, ranges=ranges)
    cache: Shape = [1, spec.kv_heads, cache_length, spec.head_dim]
    g.input("inputs_embeds", FP32, [1, "tokens", spec.hidden_size])
    g.input("position_ids", np.int64, [3, 1, "tokens"])
    g.input("logits_index", np.int64, ["kept"])
    if form.scatter:
        g.input("write_indices", np.int64, [1])
        g.input("attention_mask", np.bool_, [1, 1, "tokens", cache_length])
    else:
        g.input("attention_mask", np.bool_, [1, 1, "tokens", "cells"])
    for layer in range(spec.layers):
        for part in ("key", "value"):
            g.input(f"past_key_values.{layer}.{part}", g.compute, cache)

    x = g.reshape("inputs_embeds", -1, spec.hidden_size)
    x = x if g.compute == FP32 else g.cast(x, g.compute)
    cos, sin = _rotary(g, spec)
    normed = g.rms_norm(x, "text.layers.0.input_layernorm", spec.norm_eps)
    for layer in range(spec.layers):
        at, last = f"text.layers.{layer}", layer + 1 == spec.layers
        attended = _attention(g, spec, layer, normed, cos, sin, cache)
        if last:
            # What follows the last attention is computed for the kept positions alone.
            attended = g.op("Gather", attended, "logits_index", axis=0)
            x = g.op("Gather", x, "logits_index", axis=0)
        attended = g.linear(attended, f"{at}.self_attn.o_proj")
        normed, x = g.add_rms_norm(attended, x, f"{at}.post_attention_layernorm", spec.norm_eps)
        active = g.op(
            "Mul",
            g.silu(g.linear(normed, f"{at}.mlp.gate_proj")),
            g.linear(normed, f"{at}.mlp.up_proj"),
        )
        down = g.linear(active, f"{at}.mlp.down_proj")
        after = "text.norm" if last else f"text.layers.{layer + 1}.input_layernorm"
        normed, x = g.add_rms_norm(down, x, after, spec.norm_eps)
    _head(g, spec, numbers, normed, embedding)
    return g


def _rotary(g: TensorrtGraph, spec: ModelSpec) -> tuple[str, str]:
    """Cosines and sines [S, head_dim / 2]; angles in float32, whatever the rest is in.

    Each frequency picks its axis with a Gather: a matrix product would be shorter, but TensorRT may
    run it in TF32, whose ten bits cannot hold a position.
    """
    half = spec.head_dim // 2
    exponents = np.arange(0, spec.head_dim, 2, dtype=np.float32) / np.float32(spec.head_dim)
    frequencies = rotary_frequencies(exponents, spec.rope_theta).reshape(half, 1)
    axes = np.repeat(np.arange(3, dtype=np.int64), spec.mrope_section)
    positions = g.reshape("position_ids", 3, -1)
    chosen = g.op("Gather", positions, g.constant("rope.axes", axes), axis=0)
    angles = g.op("Mul", g.cast(chosen, FP32), g.constant("rope.frequencies", frequencies))
    angles = g.op("Transpose", angles, perm=[1, 0])
    cos, sin = g.op("Cos", angles), g.op("Sin", angles)
    if g.compute == FP32:
        return cos, sin
    return g.cast(cos, g.compute), g.cast(sin, g.compute)


def _attention(
    g: TensorrtGraph, spec: ModelSpec, layer: int, x: str, cos: str, sin: str, cache: Shape
) -> str:
    at = f"text.layers.{layer}.self_attn"
    width, heads, kv = spec.head_dim, spec.heads, spec.kv_heads
    qkv = g.linear(x, f"{at}.q_proj", f"{at}.k_proj", f"{at}.v_proj", bias=True)
    parts = g.split(qkv, [heads * width, kv * width, kv * width])
    q = g.rotate(g.heads(parts[0], heads, width), cos, sin, width)
    k = g.rotate(g.heads(parts[1], kv, width), cos, sin, width)
    keys, values = (
        _remember(g, f"{layer}.{part}", new, cache)
        for part, new in (("key", k), ("value", g.heads(parts[2], kv, width)))
    )
    out = g.attend(q, keys, values, "attention_mask", heads=heads, kv_heads=kv, width=width)
    return g.joined(out, heads * width)


def _remember(g: TensorrtGraph, place: str, new: str, cache: Shape) -> str:
    """Add new keys or values [1, kv_heads, S, head_dim] to the cache; what attention reads."""
    past = f"past_key_values.{place}"
    if g.form.scatter:
        # The node's output has to be the graph's output itself: TensorRT makes an in-place update
        # of the pair only then.
        present = g.op(
            "TensorScatter", past, new, "write_indices", outputs=[f"present.{place}"], axis=2
        )
        g.output(present, g.compute, cache)
        return present
    name = g.op("Identity", new, outputs=[f"new.{place}"])
    g.output(name, g.compute, [1, cache[1], "tokens", cache[3]])
    return g.op("Concat", past, new, axis=2)


def _head(
    g: TensorrtGraph, spec: ModelSpec, numbers: NumberFormat, x: str, embedding: Location
) -> None:
    name = EMBEDDING if spec.tied else HEAD
    if numbers.weights in ("int8", "int4"):
        # The head decides between neighbouring tokens: never below int8, its input never quantized.
        matrix, _ = g.dequantized(name, kind="int8")
    elif spec.tied:
        matrix = g.shared_embedding(embedding)
    else:
        matrix = g.matrix(name)
    if g.compute == FP32:
        g.op("Gemm", x, matrix, outputs=["logits"], transB=1)
    else:
        g.op("Cast", g.op("Gemm", x, matrix, transB=1), outputs=["logits"], to=1)
    g.output("logits", FP32, ["kept", spec.vocabulary])
