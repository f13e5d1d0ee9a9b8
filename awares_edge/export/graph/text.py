"""The language model's graph: everything but its inputs, its KV cache and its attention.

A `TextAttention` declares the inputs and does the attention, as its runtime does it best. Common to
all:
    logits_index  int64 [K], which of the S positions get logits
    logits  float32 [K, vocabulary], the output
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from awares_edge.checkpoint.names import EMBEDDING, HEAD
from awares_edge.export.graph.builder import Builder
from awares_edge.export.graph.weights import FP32
from awares_edge.spec import ModelSpec


class TextAttention(ABC):
    """A dialect's inputs, KV cache and attention. One object a graph."""

    @abstractmethod
    def embeddings(self) -> str:
        """Declare the inputs; the embeddings float32 [S, hidden]."""

    @abstractmethod
    def attend(self, layer: int, qkv: str) -> str:
        """Rotate, add to the cache, attend.

        Args:
            qkv: compute [S, (heads + 2 * kv_heads) * head_dim].

        Returns:
            compute [S, heads * head_dim].
        """


def build_text(g: Builder, spec: ModelSpec, attention: TextAttention) -> None:
    """Add the language model to an empty graph.

    Raises:
        ExportError: a weight format needs an input range that is missing.
    """
    embeddings = attention.embeddings()
    g.input("logits_index", np.int64, ["kept"])
    x = g.narrow(embeddings)
    normed = g.rms_norm(x, "text.layers.0.input_layernorm", spec.norm_eps)
    for layer in range(spec.layers):
        at, last = f"text.layers.{layer}", layer + 1 == spec.layers
        projections = (f"{at}.self_attn.{part}_proj" for part in "qkv")
        attended = attention.attend(layer, g.linear(normed, *projections, bias=True))
        if last:
            # Of the last layer only keys and values of all tokens are needed: what follows its
            # attention is computed only for the kept positions.
            attended = g.op("Gather", attended, "logits_index", axis=0)
            x = g.op("Gather", x, "logits_index", axis=0)
        attended = g.linear(attended, f"{at}.self_attn.o_proj")
        normed, x = g.add_rms_norm(attended, x, f"{at}.post_attention_layernorm", spec.norm_eps)
        gate, up = (g.linear(normed, f"{at}.mlp.{part}_proj") for part in ("gate", "up"))
        down = g.linear(g.op("Mul", g.silu(gate), up), f"{at}.mlp.down_proj")
        after = "text.norm" if last else f"text.layers.{layer + 1}.input_layernorm"
        normed, x = g.add_rms_norm(down, x, after, spec.norm_eps)
    head = EMBEDDING if spec.tied else HEAD
    logits = g.widen(g.linear(normed, head.removesuffix(".weight")))
    g.output("logits", FP32, ["kept", spec.vocabulary], logits)
