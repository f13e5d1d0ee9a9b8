"""The dialect of TensorRT: primitives that its parsers take from 10.3 to 11, and in TensorRT-RTX.

Nothing of onnxruntime's own domain, every type explicit: the networks are strongly typed, so that
each number is computed in the type that the graph says.
"""

from __future__ import annotations

import numpy as np

from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.export.graph.builder import Builder, FormatOf, Shape
from awares_edge.export.graph.quantize import Int4
from awares_edge.export.graph.text import TextAttention
from awares_edge.export.graph.vision import VisionAttention, window_patches
from awares_edge.export.graph.weights import FP32, Matrix, WeightFormat
from awares_edge.export.tensorrt.formats import NumberFormat, format_chooser
from awares_edge.spec import ModelSpec
from awares_edge.vision.windows import rotary_frequencies

_LOWEST = -30_000.0
"""Score of a cell that must not be attended to: vanishes in a softmax, representable in fp16."""
_HEADROOM = 64.0


class TensorrtBuilder(Builder):
    """A graph of TensorRT's."""

    def __init__(
        self,
        name: str,
        weights: Weights,
        numbers: NumberFormat,
        format_of: FormatOf | None = None,
    ) -> None:
        """
        Args:
            format_of: weight formats; None for those of `numbers`, without any exception.
        """
        super().__init__(name, weights, numbers.dtype, format_of or format_chooser(numbers))

    def matrix(self, matrix: Matrix, fmt: WeightFormat) -> list[str]:
        if isinstance(fmt, Int4):
            # Blocked DequantizeLinear and the INT4 type entered ONNX in opset 21; nothing else in
            # these graphs differs between 20 and 21. NVIDIA's own quantization tool writes the same
            # node for TensorRT 10.0 and later. On 10.3 itself: not executed.
            self.opset, self.ir_version = 21, 10
        return super().matrix(matrix, fmt)

    def gelu(self, value: str) -> str:
        """The exact GELU, in float32: `Gelu` itself is younger than the oldest parser."""
        wide = self.widen(value)
        curve = self.op("Erf", self.op("Mul", wide, self.scalar(2**-0.5, FP32)))
        half = self.op("Mul", wide, self.scalar(0.5, FP32))
        return self.narrow(self.op("Mul", half, self.op("Add", curve, self.scalar(1.0, FP32))))

    def wide_linear(self, value: str, name: str) -> str:
        """The input is scaled down before, the result up after, in float32; the product itself
        stays in the compute type, because Turing GPUs have no float32 one."""
        if self.compute == FP32:
            return super().wide_linear(value, name)
        small = self.narrow(self.op("Mul", value, self.scalar(1 / _HEADROOM, FP32)))
        product = self.widen(self.linear(small, name))
        product = self.op("Mul", product, self.scalar(_HEADROOM, FP32))
        return self.op("Add", product, self.vector(f"{name}.bias", dtype=FP32))

    def heads(self, value: str, count: int, width: int, *, rows: int = -1) -> str:
        """[B * S, count * width] as [B, count, S, width], S being `rows`, or everything."""
        batch = 1 if rows < 0 else -1
        split = self.reshape(value, batch, rows, count, width)
        return self.op("Transpose", split, perm=[0, 2, 1, 3])

    def rotate(self, value: str, cos: str, sin: str, heads: int, width: int) -> str:
        """Rotary embedding (half-split) of [S, heads * width] by [S, 1, width / 2]."""
        split = self.reshape(value, -1, heads, width)
        first, second = self.split(split, [width // 2, width // 2])
        turned = (
            self.op("Sub", self.op("Mul", first, cos), self.op("Mul", second, sin)),
            self.op("Add", self.op("Mul", second, cos), self.op("Mul", first, sin)),
        )
        return self.reshape(self.op("Concat", *turned, axis=-1), -1, heads * width)

    def attend(
        self, q: str, k: str, v: str, mask: str | None, *, heads: int, kv_heads: int, width: int
    ) -> str:
        """softmax(q kᵀ / √width) v under a mask.

        Args:
            q: [B, heads, S, width]; k, v: [B, kv_heads, T, width]. B is 1 where the two counts of
                heads differ.
            mask: bool, broadcast to [B, heads, S, T]; True where a query may look.

        Returns:
            [B * S, heads * width].
        """
        q = self.op("Mul", q, self.scalar(width**-0.5, self.compute))
        group = heads // kv_heads
        if group > 1:
            # Queries of one group next to each other: keys and values broadcast, nothing is copied.
            q = self.reshape(q, 1, kv_heads, -1, width)
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        if mask is not None:
            low, zero = (self.scalar(value, self.compute) for value in (_LOWEST, 0.0))
            bias = self.once("Where", mask, zero, low)
            if group > 1:
                bias = self.once("Tile", bias, self.integers([1, 1, group, 1]))
            scores = self.op("Add", scores, bias)
        out = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        if group > 1:
            out = self.reshape(out, 1, heads, -1, width)
        return self.reshape(self.op("Transpose", out, perm=[0, 2, 1, 3]), -1, heads * width)


class TensorrtText(TextAttention):
    """Appends S embeddings to a KV cache of C cells.

    Inputs (compute = fp32, fp16 or bf16):
        inputs_embeds  float32 [1, S, hidden]; features of pictures are put in by the host
        position_ids  int64 [3, 1, S], M-RoPE positions (t, h, w)
        attention_mask  bool [1, 1, S, C + S], True where a token may look: cells of the cache
            first, then the S new tokens
        past_key_values.{i}.key, .value  compute [1, kv_heads, C, head_dim]
    Outputs:
        new.{i}.key, .value  compute [1, kv_heads, S, head_dim]; the runtime copies them to their
            cells

    Batch is 1: one conversation a call.
    """

    def __init__(self, g: TensorrtBuilder, spec: ModelSpec, cache_length: int) -> None:
        self._g = g
        self._spec = spec
        self._cells = cache_length
        self._cos = self._sin = ""

    def embeddings(self) -> str:
        g, spec = self._g, self._spec
        g.input("inputs_embeds", FP32, [1, "tokens", spec.hidden_size])
        g.input("position_ids", np.int64, [3, 1, "tokens"])
        g.input("attention_mask", np.bool_, [1, 1, "tokens", "cells"])
        cache: Shape = [1, spec.kv_heads, self._cells, spec.head_dim]
        for layer in range(spec.layers):
            for part in ("key", "value"):
                g.input(f"past_key_values.{layer}.{part}", g.compute, cache)
        self._cos, self._sin = self._rotary()
        return g.reshape("inputs_embeds", -1, spec.hidden_size)

    def _rotary(self) -> tuple[str, str]:
        """Cosines and sines [S, 1, head_dim / 2]; angles in float32 at every precision.

        Each frequency picks its axis with a Gather: a matrix product would be shorter, but TensorRT
        may run it in TF32, whose ten bits cannot represent a position.
        """
        g, spec = self._g, self._spec
        exponents = np.arange(0, spec.head_dim, 2, dtype=np.float32) / np.float32(spec.head_dim)
        frequencies = rotary_frequencies(exponents, spec.rope_theta).reshape(-1, 1)
        axes = np.repeat(np.arange(3, dtype=np.int64), spec.mrope_section)
        positions = g.reshape("position_ids", 3, -1)
        chosen = g.op("Gather", positions, g.constant("rope.axes", axes), axis=0)
        angles = g.op("Mul", g.cast(chosen, FP32), g.constant("rope.frequencies", frequencies))
        angles = g.op("Unsqueeze", g.op("Transpose", angles, perm=[1, 0]), g.integers([1]))
        return g.narrow(g.op("Cos", angles)), g.narrow(g.op("Sin", angles))

    def attend(self, layer: int, qkv: str) -> str:
        g, width, kv = self._g, self._spec.head_dim, self._spec.kv_heads
        heads = self._spec.heads
        q, k, v = g.split(qkv, [heads * width, kv * width, kv * width])
        q = g.rotate(q, self._cos, self._sin, heads, width)
        k = g.rotate(k, self._cos, self._sin, kv, width)
        keys = self._remember(f"{layer}.key", g.heads(k, kv, width))
        values = self._remember(f"{layer}.value", g.heads(v, kv, width))
        q = g.heads(q, heads, width)
        return g.attend(q, keys, values, "attention_mask", heads=heads, kv_heads=kv, width=width)

    def _remember(self, place: str, new: str) -> str:
        """Give out new keys or values [1, kv_heads, S, head_dim]; what attention reads."""
        shape: Shape = [1, self._spec.kv_heads, "tokens", self._spec.head_dim]
        self._g.output(f"new.{place}", self._g.compute, shape, new)
        return self._g.op("Concat", f"past_key_values.{place}", new, axis=2)


class TensorrtVision(VisionAttention):
    """Inputs:
    rotary_cos, rotary_sin  float32 [P, head_dim / 2], window order
    window_mask  bool [W, 1, L, L], True where a patch may look
    """

    def __init__(self, g: TensorrtBuilder, spec: ModelSpec) -> None:
        self._g = g
        self._heads = spec.vision.heads
        self._width = spec.vision.hidden_size // spec.vision.heads
        self.window: int = window_patches(spec.vision)
        self._cos = self._sin = ""

    def inputs(self, windowed: bool) -> None:
        g = self._g
        self._cos, self._sin = (
            g.op("Unsqueeze", g.narrow(name), g.integers([1]))
            for name in (
                g.input("rotary_cos", FP32, ["patches", self._width // 2]),
                g.input("rotary_sin", FP32, ["patches", self._width // 2]),
            )
        )
        if windowed:
            g.input("window_mask", np.bool_, ["windows", 1, self.window, self.window])

    def rotate(self, value: str) -> str:
        return self._g.rotate(value, self._cos, self._sin, self._heads, self._width)

    def attend(self, q: str, k: str, v: str, *, windowed: bool) -> str:
        g, heads, width = self._g, self._heads, self._width
        rows = self.window if windowed else -1
        q, k, v = (g.heads(part, heads, width, rows=rows) for part in (q, k, v))
        mask = "window_mask" if windowed else None
        return g.attend(q, k, v, mask, heads=heads, kv_heads=heads, width=width)
