"""Number formats of TensorRT exports: which weight format each matrix gets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from awares_edge.checkpoint.names import EMBEDDING, HEAD
from awares_edge.export.base import RANGES, RangeMethod
from awares_edge.export.graph.builder import FormatOf
from awares_edge.export.graph.quantize import Float, Fp8, Int4, Int8, int4_block
from awares_edge.export.graph.weights import FP16, FP32, WeightFormat
from awares_edge.export.measured import Measured, layer_name, layer_names
from awares_edge.export.ranges import input_range
from awares_edge.runtimes.tensorrt.plan import Plan

WeightKind = Literal["float", "int8", "int4", "fp8"]
ActivationKind = Literal["float", "int8", "fp8"]


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How the graphs store and compute.

    Attributes:
        compute: "fp32", "fp16" or "bf16": activations, biases, norms and the KV cache.
        weights: storage of the language model's matrices; int8 is per output channel, int4 in
            blocks along the input axis, fp8 (E4M3) per output channel.
        activations: of the linear layers' inputs; "float" makes the weights weight-only, otherwise
            both sides of a product are quantized, and measured ranges are needed.
    """

    name: str
    compute: Literal["fp32", "fp16", "bf16"]
    weights: WeightKind = "float"
    activations: ActivationKind = "float"

    @classmethod
    def of(cls, plan: Plan) -> NumberFormat:
        return cls("plan", plan.compute, plan.weights, plan.activations)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of `compute` (bf16 from ml_dtypes)."""
        if self.compute == "bf16":
            import ml_dtypes

            bf16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
            return bf16
        return FP32 if self.compute == "fp32" else FP16

    @property
    def embedding(self) -> np.dtype[Any]:
        """Of `embedding.npy`: a device has only numpy, which has no bf16."""
        return FP32 if self.compute == "fp32" else FP16


NUMBER_FORMATS: dict[str, NumberFormat] = {
    item.name: item
    for item in (
        NumberFormat("fp16", "fp16"),
        NumberFormat("fp32", "fp32"),
        NumberFormat("bf16", "bf16"),
        NumberFormat("int8", "fp16", "int8"),
        NumberFormat("int4", "fp16", "int4"),
        NumberFormat("w8a8", "fp16", "int8", "int8"),
        NumberFormat("fp8", "fp16", "fp8", "fp8"),
    )
}


def format_chooser(
    numbers: NumberFormat,
    measured: Measured | None = None,
    kept: Collection[str] = (),
    ranges: RangeMethod = RANGES,
) -> FormatOf:
    """The weight format of each matrix.

    The vision tower is never quantized: it is bound by arithmetic, which weight-only formats do not
    reduce, and it is where small print is read. The head decides between neighbouring tokens: never
    below int8, its input never quantized.

    Args:
        measured: statistics of the inputs; needed where `numbers` quantizes activations.
        kept: layers that stay in the graph's float format.
        ranges: how the ranges of inputs follow from what was measured.
    """
    dtype = numbers.dtype

    def range_of(name: str) -> float | None:
        if numbers.activations == "float":
            return None
        assert measured is not None, "inputs are quantized over measured ranges"
        # Joined layers have a common input.
        return input_range(measured.inputs[layer_name(name)], ranges)

    def choose(name: str, shape: tuple[int, int]) -> WeightFormat:
        if name in (EMBEDDING, HEAD):
            if numbers.weights in ("int8", "int4"):
                return Int8(dtype)
            return Float(numbers.embedding if name == EMBEDDING else dtype)
        spared = any(layer in kept for layer in layer_names(name))
        if numbers.weights == "float" or name.startswith("visual.") or spared:
            return Float(dtype)
        block = int4_block(shape[1]) if shape[0] % 2 == 0 else 0
        if numbers.weights == "int4" and block:
            return Int4(dtype, block)
        # Rows that no int4 block divides fall back to int8, which has no blocks.
        found = range_of(name)
        return Fp8(dtype, found) if numbers.weights == "fp8" else Int8(dtype, found)

    return choose
