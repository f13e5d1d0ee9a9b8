"""The ONNX builder, held to what TensorRT's parser takes.

Nothing of onnxruntime's own domain, norms and activations from primitives, every type explicit:
the networks are strongly typed, so that precision is what the graph says and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from awares_edge.checkpoint.names import EMBEDDING
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import ExportError
from awares_edge.export.onnx.graph import FP16, FP32, Graph, StoredWeight
from awares_edge.export.onnx.weights import Location
from awares_edge.export.tensorrt.formats import Form, NumberFormat, WeightKind
from awares_edge.export.tensorrt.quantize import FP8_LIMIT, QuantizedWeight, int4_block


def embedding_dtype(compute: np.dtype[Any]) -> np.dtype[Any]:
    """Of `embedding.npy`: numpy alone, on the device, knows no bf16."""
    return FP32 if compute == FP32 else FP16


LOWEST = -30_000.0
"""Score of a cell that must not be attended to: vanishes in a softmax, representable in fp16."""


class TensorrtGraph(Graph):
    """A graph of one of the TensorRT forms.

    Attributes:
        form: the graph form.
        quantized: matrices that have to be in the weight file in quantized form.
    """

    def __init__(
        self,
        name: str,
        weights: Weights,
        numbers: NumberFormat,
        form: Form,
        *,
        plain: bool = False,
        ranges: Mapping[str, float] | None = None,
    ) -> None:
        """
        Args:
            plain: leave all linear layers in floating point, whatever the number format says.
            ranges: largest magnitude of each linear layer's input, by the layer's name; needed
                where the number format quantizes activations.
        """
        super().__init__(name, weights, numbers.precision)
        self.form = form
        self.quantized: dict[str, QuantizedWeight] = {}
        self._kind: WeightKind = "float" if plain else numbers.weights
        self._activations = "float" if plain else numbers.activations
        self._ranges = {} if ranges is None else ranges
        self._shared: dict[tuple[str, ...], str] = {}

    @property
    def compute(self) -> np.dtype[Any]:
        return self.precision.compute

    def linear(
        self,
        value: str,
        *names: str,
        bias: bool = False,
        dtype: np.dtype[Any] | None = None,
    ) -> str:
        # What is asked for in another precision than the rest was found to need it.
        if self._kind == "float" or dtype not in (None, self.compute):
            return super().linear(value, *names, bias=bias, dtype=dtype)
        if self._activations != "float":
            value = self._round_trip(value, "+".join(names))
        matrix, transposed = self.dequantized(*(f"{name}.weight" for name in names))
        vector = self.vector(*(f"{name}.bias" for name in names)) if bias else None
        if not transposed:
            inputs = [value, matrix] if vector is None else [value, matrix, vector]
            return self.op("Gemm", *inputs, transB=1)
        product = self.op("MatMul", value, matrix)
        return product if vector is None else self.op("Add", product, vector)

    def dequantized(self, *names: str, kind: WeightKind | None = None) -> tuple[str, bool]:
        """A quantized matrix of the weight file, back in the compute format.

        Returns:
            its name, and whether it is transposed ([in, out] in place of [out, in]).
        """
        weight = self._quantize(names, kind or self._kind)
        attributes: dict[str, Any] = (
            {"axis": 0, "block_size": weight.block} if weight.block else {"axis": 0}
        )
        matrix = self.op("DequantizeLinear", weight.name, weight.scale_name, **attributes)
        return matrix, bool(weight.block)

    def _quantize(self, names: tuple[str, ...], kind: WeightKind) -> QuantizedWeight:
        key = "+".join(names)
        if key not in self.quantized:
            parts = tuple(self._weights.tensor(name) for name in names)
            inner = int(np.prod(parts[0].shape[1:]))
            shape = (sum(part.shape[0] for part in parts), inner)
            # Rows that no block divides fall back to int8, which has no blocks.
            block = int4_block(inner) if kind == "int4" and shape[0] % 2 == 0 else 0
            kind = "int8" if kind == "int4" and not block else kind
            self.quantized[key] = QuantizedWeight(
                StoredWeight(key, parts, shape), kind, block, self.compute
            )
        return self.quantized[key]

    def _round_trip(self, value: str, layer: str) -> str:
        """A layer's input quantized and back, over its measured range: TensorRT makes one quantized
        product of this and the quantized weights."""
        if layer not in self._ranges:
            raise ExportError(
                f"the ranges have none for {layer}: measure them on this very checkpoint"
            )
        limit = {"int8": 127.0, "fp8": FP8_LIMIT}[self._activations]
        scale = self.constant(
            f"{layer}:range", np.array(self._ranges[layer] / limit, dtype=self.compute)
        )
        zero = self.constant(f"zero:{self._activations}", np.zeros((), dtype=self._quantum()))
        quantized = self.op("QuantizeLinear", value, scale, zero)
        return self.op("DequantizeLinear", quantized, scale, zero)

    def _quantum(self) -> np.dtype[Any]:
        if self._activations == "int8":
            return np.dtype(np.int8)
        import ml_dtypes

        fp8: np.dtype[Any] = np.dtype(ml_dtypes.float8_e4m3fn)
        return fp8

    def shared_embedding(self, location: Location) -> str:
        """The embedding in `embedding.npy`, which is fp32 or fp16, in the compute format."""
        self.outside[EMBEDDING] = location
        stored = embedding_dtype(self.compute)
        return EMBEDDING if stored == self.compute else self.cast(EMBEDDING, self.compute)

    def scalar(self, value: float, dtype: np.dtype[Any]) -> str:
        """A constant of rank 0."""
        return self.constant(f"c_{value!r}:{dtype.name}", np.array(value, dtype=dtype))

    def rms_norm(
        self, value: str, name: str, eps: float, dtype: np.dtype[Any] | None = None
    ) -> str:
        """RMS norm over the last axis; the mean square in float32, as the reference takes it."""
        dtype = dtype or self.compute
        wide = value if dtype == FP32 else self.cast(value, FP32)
        squares = self.op("ReduceMean", self.op("Mul", wide, wide), self.integers([-1]), keepdims=1)
        root = self.op("Sqrt", self.op("Add", squares, self.scalar(eps, FP32)))
        normed = self.op("Div", wide, root)
        if dtype != FP32:
            normed = self.cast(normed, dtype)
        return self.op("Mul", normed, self.vector(f"{name}.weight", dtype=dtype))

    def add_rms_norm(self, value: str, residual: str, name: str, eps: float) -> tuple[str, str]:
        total = self.op("Add", value, residual)
        return self.rms_norm(total, name, eps), total

    def silu(self, value: str) -> str:
        return self.op("Mul", value, self.op("Sigmoid", value))

    def gelu(self, value: str) -> str:
        """The exact GELU, in float32: `Gelu` itself is younger than the oldest parser."""
        wide = value if self.compute == FP32 else self.cast(value, FP32)
        curve = self.op("Erf", self.op("Mul", wide, self.scalar(2**-0.5, FP32)))
        half = self.op("Mul", wide, self.scalar(0.5, FP32))
        out = self.op("Mul", half, self.op("Add", curve, self.scalar(1.0, FP32)))
        return out if self.compute == FP32 else self.cast(out, self.compute)

    def heads(self, value: str, count: int, width: int, *, rows: int = -1) -> str:
        """[B * S, count * width] as [B, count, S, width], S being `rows`, or everything."""
        batch = 1 if rows < 0 else -1
        split = self.reshape(value, batch, rows, count, width)
        return self.op("Transpose", split, perm=[0, 2, 1, 3])

    def joined(self, value: str, size: int) -> str:
        """[B, heads, S, width] as [B * S, heads * width], which is `size`."""
        return self.reshape(self.op("Transpose", value, perm=[0, 2, 1, 3]), -1, size)

    def rotate(self, value: str, cos: str, sin: str, width: int) -> str:
        """Rotary embedding (half-split) of [..., S, width] by [S, width / 2]."""
        first, second = self.split(value, [width // 2, width // 2])
        turned = (
            self.op("Sub", self.op("Mul", first, cos), self.op("Mul", second, sin)),
            self.op("Add", self.op("Mul", second, cos), self.op("Mul", first, sin)),
        )
        return self.op("Concat", *turned, axis=-1)

    def attend(
        self, q: str, k: str, v: str, mask: str | None, *, heads: int, kv_heads: int, width: int
    ) -> str:
        """softmax(q kᵀ / √width) v under a mask.

        Args:
            q: [B, heads, S, width]; k, v: [B, kv_heads, T, width].
            mask: bool, broadcast to [B, heads, S, T]; True where a query may look.

        Returns:
            [B, heads, S, width].
        """
        if self.form.scatter and self.compute != FP32:
            inputs = [q, k, v] if mask is None else [q, k, v, self._bias(mask)]
            return self.op("Attention", *inputs, scale=width**-0.5)
        # In float32 TensorRT has no attention kernel, and refuses the node.
        q = self.op("Mul", q, self.scalar(width**-0.5, self.compute))
        group = heads // kv_heads
        if group > 1:
            # Queries of one group beside each other: keys and values broadcast, nothing is copied.
            q = self.reshape(q, 1, kv_heads, -1, width)
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        if mask is not None:
            bias = self._bias(mask)
            if group > 1:
                bias = self._once("Tile", bias, self.integers([1, 1, group, 1]))
            scores = self.op("Add", scores, bias)
        out = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        return self.reshape(out, 1, heads, -1, width) if group > 1 else out

    def _bias(self, mask: str) -> str:
        """A boolean mask as what is added to scores: TensorRT-RTX 1.7 cannot build a text graph
        whose `Attention` nodes share a boolean one."""
        low, zero = (self.scalar(value, self.compute) for value in (LOWEST, 0.0))
        return self._once("Where", mask, zero, low)

    def _once(self, kind: str, *inputs: str) -> str:
        """A node that several layers share."""
        key = (kind, *inputs)
        if key not in self._shared:
            self._shared[key] = self.op(kind, *inputs)
        return self._shared[key]

    def model(self, locations: Mapping[str, Location]) -> onnx.ModelProto:
        """The finished graph, its matrices pointing into files.

        Args:
            locations: where each stored and quantized matrix was written.
        """
        places = dict(locations)
        model = super().model(places)
        for proto in model.graph.initializer:
            if proto.name in self.outside:
                stored = embedding_dtype(self.compute)
                proto.data_type = helper.np_dtype_to_tensor_dtype(stored)
        del model.opset_import[:]
        model.opset_import.append(helper.make_opsetid("", self.form.opset))
        model.ir_version = self.form.ir_version
        scale_type = helper.np_dtype_to_tensor_dtype(self.compute)
        for weight in self.quantized.values():
            model.graph.initializer.append(
                _external(weight.name, weight.onnx_type, places[weight.name])
            )
            model.graph.initializer.append(
                _external(weight.scale_name, scale_type, places[weight.scale_name])
            )
        return model


def _external(name: str, dtype: int, location: Location) -> TensorProto:
    proto = TensorProto(name=name, data_type=dtype, dims=location.shape)
    proto.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", location.file),
        ("offset", str(location.offset)),
        ("length", str(location.length)),
    ):
        proto.external_data.add(key=key, value=value)
    return proto
