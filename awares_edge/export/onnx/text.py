"""The language model's graph: append S embeddings to a KV cache of C cells, in place.

Inputs:
    inputs_embeds  float32 [S, hidden]
    past_key_values.{i}.key, .value  [1, kv_heads, C, head_dim]; bind the same buffers as
        present.{i}.key, .value
    seqlens_k  int32 [1], cells in use after the call, minus one
    total_sequence_length  int32 [], cells in use after the call
    logits_index  int64 [K], which of the S positions get logits
    rotary_cos, rotary_sin  [at least cells in use, head_dim / 2]
Output:
    logits  float32 [K, vocabulary]

Row i of the rotary tables holds the M-RoPE angles of the token in cell i. The runtime owns and
fills them, so that M-RoPE is the plain table look-up of GroupQueryAttention.
"""

from __future__ import annotations

import numpy as np

from awares_edge.checkpoint.names import EMBEDDING, HEAD
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.export.onnx.graph import FP32, MICROSOFT, Graph, Precision, Shape
from awares_edge.export.onnx.weights import Location
from awares_edge.spec import ModelSpec


def build_text(
    spec: ModelSpec, weights: Weights, precision: Precision, embedding: Location
) -> Graph:
    """Graph of the language model.

    Args:
        embedding: where the embedding lies; a tied head reads it there.
    """
    g = Graph("text", weights, precision)
    g.input("inputs_embeds", FP32, ["tokens", spec.hidden_size])
    g.input("seqlens_k", np.int32, [1])
    g.input("total_sequence_length", np.int32, [])
    g.input("logits_index", np.int64, ["kept"])
    g.input("rotary_cos", precision.compute, ["rows", spec.head_dim // 2])
    g.input("rotary_sin", precision.compute, ["rows", spec.head_dim // 2])
    cache: Shape = [1, spec.kv_heads, "cells", spec.head_dim]
    for layer in range(spec.layers):
        for part in ("key", "value"):
            g.input(f"past_key_values.{layer}.{part}", precision.compute, cache)

    x = "inputs_embeds" if precision.compute == FP32 else g.cast("inputs_embeds", precision.compute)
    normed = g.rms_norm(x, "text.layers.0.input_layernorm", spec.norm_eps)
    for layer in range(spec.layers):
        at = f"text.layers.{layer}"
        attended = _attention(g, spec, layer, normed)
        last = layer + 1 == spec.layers
        if last:
            # Of the last layer only keys and values of all tokens are needed: what follows its
            # attention is computed for the kept positions alone.
            attended = g.op("Gather", attended, "logits_index", axis=0)
            x = g.op("Gather", x, "logits_index", axis=0)
        attended = g.linear(attended, f"{at}.self_attn.o_proj")
        normed, x = g.add_rms_norm(attended, x, f"{at}.post_attention_layernorm", spec.norm_eps)
        down = _mlp(g, at, normed)
        after = "text.norm" if last else f"text.layers.{layer + 1}.input_layernorm"
        normed, x = g.add_rms_norm(down, x, after, spec.norm_eps)
        for part in ("key", "value"):
            g.output(f"present.{layer}.{part}", precision.compute, cache)
    _head(g, spec, normed, embedding)
    return g


def _attention(g: Graph, spec: ModelSpec, layer: int, x: str) -> str:
    at = f"text.layers.{layer}.self_attn"
    qkv = g.linear(x, f"{at}.q_proj", f"{at}.k_proj", f"{at}.v_proj", bias=True)
    past, present = f"past_key_values.{layer}", f"present.{layer}"
    out = g.op(
        "GroupQueryAttention",
        *(g.op("Unsqueeze", qkv, g.integers([0])), "", ""),
        *(f"{past}.key", f"{past}.value", "seqlens_k", "total_sequence_length"),
        *("rotary_cos", "rotary_sin"),
        outputs=[f"attention.{layer}", f"{present}.key", f"{present}.value"],
        domain=MICROSOFT,
        num_heads=spec.heads,
        kv_num_heads=spec.kv_heads,
        do_rotary=1,
        rotary_interleaved=0,
    )
    return g.reshape(out, -1, spec.heads * spec.head_dim)


def _mlp(g: Graph, at: str, x: str) -> str:
    gate = g.linear(x, f"{at}.mlp.gate_proj")
    up = g.linear(x, f"{at}.mlp.up_proj")
    return g.linear(g.op("Mul", g.silu(gate), up), f"{at}.mlp.down_proj")


def _head(g: Graph, spec: ModelSpec, x: str, embedding: Location) -> None:
    name = EMBEDDING if spec.tied else HEAD
    if spec.tied:
        g.outside[EMBEDDING] = embedding
    if g.precision.compute == FP32:
        g.op("Gemm", x, g.matrix(name), outputs=["logits"], transB=1)
    else:
        g.op("Cast", g.op("Gemm", x, g.matrix(name), transB=1), outputs=["logits"], to=1)
    g.output("logits", FP32, ["kept", spec.vocabulary])
