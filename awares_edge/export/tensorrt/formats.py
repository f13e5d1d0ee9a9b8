"""Graph forms and number formats of TensorRT exports.

Two forms, chosen by the TensorRT version of the target:

- `trt-kv` (TensorRT 10.15 and later, TensorRT-RTX): opset 24. `TensorScatter` writes new keys and
  values into a cache of fixed length, which TensorRT turns into an in-place update; `Attention`
  reads it under an explicit mask.
- `trt-legacy` (TensorRT 10.3 to 10.14): primitives of opset 20. The same static cache comes in as
  an input, new keys and values are concatenated behind it inside the graph, and only the new ones
  come out; the runtime copies them to their place.

Both share the session's bookkeeping: append is a write at an index, rewind is an index.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from awares_edge.export.onnx.graph import FP16, FP32, Precision

FormName = Literal["trt-kv", "trt-legacy"]
WeightKind = Literal["float", "int8", "int4", "fp8"]
ActivationKind = Literal["float", "int8", "fp8"]


@dataclass(frozen=True, slots=True)
class Form:
    """A graph form.

    Attributes:
        opset, ir_version: of the ONNX file.
        scatter: the cache is updated by `TensorScatter`, attention is one `Attention` node.
    """

    name: FormName
    opset: int
    ir_version: int
    scatter: bool


FORMS: dict[str, Form] = {
    "trt-kv": Form("trt-kv", 24, 13, True),
    "trt-legacy": Form("trt-legacy", 20, 9, False),
}


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How a text graph stores and computes.

    Attributes:
        compute: "fp32", "fp16" or "bf16": activations, biases, norms and the KV cache.
        weights: storage of the linear layers' matrices; int8 is per output channel, int4 in
            blocks along the input axis, fp8 (E4M3) per output channel.
        activations: of the linear layers' inputs; "float" makes the weights weight-only, otherwise
            both sides of a product are quantized, and measured ranges are needed.
    """

    name: str
    compute: Literal["fp32", "fp16", "bf16"]
    weights: WeightKind = "float"
    activations: ActivationKind = "float"

    @property
    def precision(self) -> Precision:
        """The builder's numpy dtypes."""
        dtype = compute_dtype(self.compute)
        return Precision(dtype, dtype)


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


def compute_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of "fp32", "fp16" or "bf16" (the latter from ml_dtypes)."""
    if name == "bf16":
        import ml_dtypes

        bf16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bf16
    return FP32 if name == "fp32" else FP16


def form_for(name: str, numbers: NumberFormat) -> Form:
    """The graph form, at the opset that a number format needs.

    Blocked `DequantizeLinear` and the INT4 type entered ONNX in opset 21; nothing else in these
    graphs differs between 20 and 21. NVIDIA's own quantization tool writes the same node for
    TensorRT 10.0 and later. On 10.3 itself: not executed.
    """
    form = FORMS[name]
    if numbers.weights == "int4" and form.opset < 21:
        return replace(form, opset=21, ir_version=10)
    return form
