"""What TensorRT's parser would refuse, or silently leave out, found before a device sees it.

The table holds the oldest version whose parser takes each operator that these graphs use. Sources:
the support matrices and release notes of the open-source parser (Attention: 10.14; TensorScatter:
10.15), and TensorRT-RTX 1.7 itself, which tests run against. Versions without a GPU at hand are not
executed: the lint is a fence, not a proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx
from onnx import TensorProto, shape_inference

from awares_edge.errors import ExportError
from awares_edge.runtimes.tensorrt.product import version_tuple

OLDEST = "8.4"
OPERATORS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("Add", "Cast", "Concat", "Cos", "DequantizeLinear", "Div", "Erf", "Gather", "Gemm"),
            *("Identity", "MatMul", "Mul", "QuantizeLinear", "ReduceMean", "Reshape", "Sigmoid"),
            *("Sin", "Softmax", "Split", "Sqrt", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"),
        ),
        OLDEST,
    ),
    "Attention": "10.14",
    "TensorScatter": "10.15",
}
"""Operator to the oldest TensorRT version that takes it."""

OPSETS = (("11.0", 25), ("10.15", 24), ("10.0", 20))
"""Newest opset by TensorRT version, newest version first."""

_TYPES = {
    TensorProto.BFLOAT16: ("bf16", "9.0"),
    TensorProto.FLOAT8E4M3FN: ("fp8", "8.6"),
    TensorProto.INT4: ("int4", "10.0"),
}
_INT4_OPSET = 21
_RTX_AS = "10.15"


def require_clean(model: onnx.ModelProto, version: str, *, rtx: bool = False) -> None:
    """
    Raises:
        ExportError: the graph would not build as it is written; says the first reason.
    """
    issues = lint(model, version, rtx=rtx)
    if issues:
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        product = "TensorRT-RTX" if rtx else "TensorRT"
        raise ExportError(f"{model.graph.name} for {product} {version}: {issues[0]}{more}")


def lint(model: onnx.ModelProto, version: str, *, rtx: bool = False) -> list[str]:
    """Reasons why a graph would not build as it is written on one version; empty where none.

    Args:
        version: of TensorRT; of TensorRT-RTX with `rtx`, whose parser is that of TensorRT 10.15.
    """
    here = version_tuple(_RTX_AS if rtx else version)
    checks = (_opset, _operators, _types, _unused, _attention, _caches, _typing)
    return [issue for check in checks for issue in check(model, here)]


def _before(here: tuple[int, ...], since: str) -> bool:
    return here < version_tuple(since)


def _opset(model: onnx.ModelProto, here: tuple[int, ...]) -> Iterator[str]:
    newest = next((opset for since, opset in OPSETS if not _before(here, since)), 13)
    for entry in model.opset_import:
        if entry.domain not in ("", "ai.onnx"):
            yield f"operators of the domain {entry.domain} need a plugin"
        elif entry.version > newest and not (
            # INT4 exists from opset 21 on and is taken from 10.0 on; the other operators of these
            # graphs did not change between the two.
            entry.version == _INT4_OPSET and not _before(here, "10.0") and _has_int4(model)
        ):
            yield f"opset {entry.version} is newer than its parser's {newest}"


def _operators(model: onnx.ModelProto, here: tuple[int, ...]) -> Iterator[str]:
    for kind in sorted(
        {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")}
    ):
        if kind not in OPERATORS:
            yield f"{kind} is not in the table of operators that are known to build"
        elif _before(here, OPERATORS[kind]):
            yield f"{kind} needs TensorRT {OPERATORS[kind]}"
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            yield f"{node.op_type} of {node.domain} needs a plugin"


def _types(model: onnx.ModelProto, here: tuple[int, ...]) -> Iterator[str]:
    used = {tensor.data_type for tensor in model.graph.initializer}
    used |= {value.type.tensor_type.elem_type for value in model.graph.input}
    for kind, (name, since) in _TYPES.items():
        if kind in used and _before(here, since):
            yield f"{name} needs TensorRT {since}"


def _unused(model: onnx.ModelProto, _: tuple[int, ...]) -> Iterator[str]:
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    results = {value.name for value in graph.output}
    for value in graph.input:
        if value.name not in read:
            yield f"the input {value.name} is not used"
    for tensor in graph.initializer:
        if tensor.name not in read:
            yield f"the weight {tensor.name} is not used"
    for node in graph.node:
        if not any(name in read or name in results for name in node.output):
            yield f"nothing reads the {node.op_type} node {node.name}"


def _attention(model: onnx.ModelProto, _: tuple[int, ...]) -> Iterator[str]:
    elements = _element_types(model)
    masks = Counter(
        node.input[3]
        for node in model.graph.node
        if node.op_type == "Attention" and len(node.input) > 3
    )
    for node in model.graph.node:
        if node.op_type != "Attention":
            continue
        given = [i for i, name in enumerate(node.input) if name]
        if len([name for name in node.output if name]) > 1 or {4, 5} & set(given):
            yield f"{node.name}: Attention with past or present has one output too many"
        if 6 in given:
            yield f"{node.name}: nonpad_kv_seqlen would be ignored: pass a mask"
        if elements.get(node.input[0]) == TensorProto.FLOAT:
            yield f"{node.name}: Attention has no float32 kernel"
    for mask, count in masks.items():
        if count > 1 and elements.get(mask) == TensorProto.BOOL:
            yield f"{count} Attention nodes share the boolean mask {mask}: make it additive"


def _caches(model: onnx.ModelProto, _: tuple[int, ...]) -> Iterator[str]:
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        if node.op_type == "TensorScatter" and not (
            node.input[0] in inputs and node.output[0] in outputs
        ):
            yield f"{node.name}: a cache update in place must be a graph output of a graph input"


def _typing(model: onnx.ModelProto, _: tuple[int, ...]) -> Iterator[str]:
    """Strongly typed networks: an operator's inputs have the types that its definition says."""
    try:
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except shape_inference.InferenceError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        yield lines[-1].strip() if lines else "types do not fit"


def _has_int4(model: onnx.ModelProto) -> bool:
    return any(tensor.data_type == TensorProto.INT4 for tensor in model.graph.initializer)


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of each value whose type can be inferred."""
    try:
        graph = shape_inference.infer_shapes(model).graph
    except shape_inference.InferenceError:
        graph = model.graph
    values = [*graph.input, *graph.value_info, *graph.output]
    return {value.name: value.type.tensor_type.elem_type for value in values}
