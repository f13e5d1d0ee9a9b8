"""The dialect of ONNX Runtime: its fused norms and activations, rotary embedding and attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from awares_edge.export.graph.branches import BranchingBuilder
from awares_edge.export.graph.builder import Builder, Shape
from awares_edge.export.graph.text import TextAttention
from awares_edge.export.graph.vision import VisionAttention, gather_windows
from awares_edge.export.graph.weights import FP32
from awares_edge.spec import ModelSpec

_MICROSOFT = "com.microsoft"


class OnnxBuilder(BranchingBuilder):
    """A graph with ONNX Runtime's fused operators.

    The three norms without a residual are left to primitives: onnxruntime has its
    `SimplifiedLayerNormalization` in ONNX's own domain, where every other tool refuses it.
    """

    opset = 21
    ir_version = 10
    domains: ClassVar[Mapping[str, int]] = {_MICROSOFT: 1}

    def add_rms_norm(self, value: str, residual: str, name: str, eps: float) -> tuple[str, str]:
        normed, total = self.fresh("norm"), self.fresh("sum")
        self.op(
            "SkipSimplifiedLayerNormalization",
            *(value, residual, self.vector(f"{name}.weight")),
            outputs=[normed, "", "", total],
            domain=_MICROSOFT,
            epsilon=eps,
        )
        return normed, total

    def silu(self, value: str) -> str:
        return self.op("QuickGelu", value, domain=_MICROSOFT, alpha=1.0)


class OnnxText(TextAttention):
    """Appends S embeddings to a KV cache of C cells, in place.

    Inputs:
        inputs_embeds  float32 [S, hidden]
        past_key_values.{i}.key, .value  [1, kv_heads, C, head_dim]; bind the same buffers as
            present.{i}.key, .value
        seqlens_k  int32 [1], cells in use after the call, minus one
        total_sequence_length  int32 [], cells in use after the call
        rotary_cos, rotary_sin  [at least cells in use, head_dim / 2]

    Row i of the rotary tables holds the M-RoPE angles of the token in cell i. The runtime owns and
    fills them, so that M-RoPE is the plain table look-up of GroupQueryAttention.
    """

    def __init__(self, g: Builder, spec: ModelSpec) -> None:
        self._g = g
        self._spec = spec

    def embeddings(self) -> str:
        g, spec = self._g, self._spec
        g.input("inputs_embeds", FP32, ["tokens", spec.hidden_size])
        g.input("seqlens_k", np.int32, [1])
        g.input("total_sequence_length", np.int32, [])
        for name in ("rotary_cos", "rotary_sin"):
            g.input(name, g.compute, ["rows", spec.head_dim // 2])
        cache: Shape = [1, spec.kv_heads, "cells", spec.head_dim]
        for layer in range(spec.layers):
            for part in ("key", "value"):
                g.input(f"past_key_values.{layer}.{part}", g.compute, cache)
                g.output(f"present.{layer}.{part}", g.compute, cache)
        return "inputs_embeds"

    def attend(self, layer: int, qkv: str) -> str:
        g, spec = self._g, self._spec
        past, present = f"past_key_values.{layer}", f"present.{layer}"
        out = g.op(
            "GroupQueryAttention",
            *(g.op("Unsqueeze", qkv, g.integers([0])), "", ""),
            *(f"{past}.key", f"{past}.value", "seqlens_k", "total_sequence_length"),
            *("rotary_cos", "rotary_sin"),
            outputs=[g.fresh("attention"), f"{present}.key", f"{present}.value"],
            domain=_MICROSOFT,
            num_heads=spec.heads,
            kv_num_heads=spec.kv_heads,
            do_rotary=1,
            rotary_interleaved=0,
        )
        return g.reshape(out, -1, spec.heads * spec.head_dim)


class OnnxVision(VisionAttention):
    """Inputs: rotary_cos, rotary_sin [P, head_dim / 2], window order; window_lengths int32 [W].

    Where no window is padded, patches in window order are the windows already: a branch of the
    graph then leaves out the gathers and the padding.
    """

    window = "window"

    def __init__(self, g: BranchingBuilder, spec: ModelSpec) -> None:
        self._g = g
        self._spec = spec
        self._vision = spec.vision

    def inputs(self, windowed: bool) -> None:
        half = self._vision.hidden_size // self._vision.heads // 2
        for name in ("rotary_cos", "rotary_sin"):
            self._g.input(name, self._g.compute, ["patches", half])
        if windowed:
            self._g.input("window_lengths", np.int32, ["windows"])

    def rotate(self, value: str) -> str:
        # RotaryEmbedding takes [batch, patches, d]; position 0 counts up, so row i is patch i's.
        g, zero = self._g, self._g.integers([0])
        inputs = (g.op("Unsqueeze", value, zero), zero, "rotary_cos", "rotary_sin")
        out = g.op("RotaryEmbedding", *inputs, domain=_MICROSOFT)
        return g.reshape(out, -1, self._vision.hidden_size)

    def attend(self, q: str, k: str, v: str, *, windowed: bool) -> str:
        if windowed:
            return self._heads(q, k, v, "", "window_lengths")
        zero = self._g.integers([0])
        return self._heads(*(self._g.op("Unsqueeze", part, zero) for part in (q, k, v)))

    def attend_windows(self, g: Builder, q: str, k: str, v: str) -> str:
        del g
        outer, size = self._g, self._vision.hidden_size
        index_size, places_size = (
            outer.once("Size", name) for name in ("window_index", "window_places")
        )
        whole, padded = outer.branch(), outer.branch()
        shape = whole.op("Shape", "window_index")
        rows = whole.op("Concat", shape, whole.integers([size]), axis=0)
        windows = [whole.op("Reshape", part, rows) for part in (q, k, v)]
        attended = {
            whole: OnnxVision(whole, self._spec)._heads(*windows),
            padded: gather_windows(padded, OnnxVision(padded, self._spec), q, k, v),
        }
        name = outer.fresh("attended")
        for branch, value in attended.items():
            branch.output(name, outer.compute, ["patches", size], value)
        (out,) = outer.choose(outer.once("Equal", index_size, places_size), whole, padded)
        return out

    def _heads(self, q: str, k: str, v: str, *lengths: str) -> str:
        out = self._g.op(
            "MultiHeadAttention",
            *(q, k, v, *lengths),
            domain=_MICROSOFT,
            num_heads=self._vision.heads,
        )
        return self._g.reshape(out, -1, self._vision.hidden_size)
