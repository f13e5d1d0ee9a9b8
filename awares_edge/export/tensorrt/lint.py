"""What TensorRT's parser would refuse, or silently leave out, found before a device sees it.

Sources: the support matrix of the open-source parser at 10.3, and TensorRT-RTX 1.7 itself, which
tests run against. No other version was executed: passing the lint is necessary, not sufficient.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto, shape_inference

from awares_edge.errors import ExportError

OPERATORS = frozenset(
    (
        *("Add", "Cast", "Concat", "Cos", "DequantizeLinear", "Div", "Erf", "Gather", "Gemm"),
        *("Identity", "MatMul", "Mul", "QuantizeLinear", "ReduceMean", "Reshape", "Sigmoid"),
        *("Sin", "Softmax", "Split", "Sqrt", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"),
    )
)
"""Operators that every version from 10.3 on, and TensorRT-RTX, takes."""

OPSET, INT4_OPSET = 20, 21
"""Newest opset of the oldest parser. Graphs with INT4 may have the next one, in which the type came
into ONNX: these parsers take it, and the other operators did not change between the two."""

_STANDARD = ("", "ai.onnx")


def require_clean(model: onnx.ModelProto) -> None:
    """
    Raises:
        ExportError: the graph would not build as it is written; names the first reason.
    """
    if issues := lint(model):
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        raise ExportError(f"TensorRT cannot build {model.graph.name}: {issues[0]}{more}")


def lint(model: onnx.ModelProto) -> list[str]:
    """Reasons why a graph would not build as it is written; empty where there are none."""
    checks = (_opset, _operators, _unused, _typing)
    return [issue for check in checks for issue in check(model)]


def _opset(model: onnx.ModelProto) -> Iterator[str]:
    int4 = any(tensor.data_type == TensorProto.INT4 for tensor in model.graph.initializer)
    newest = INT4_OPSET if int4 else OPSET
    for entry in model.opset_import:
        if entry.domain in _STANDARD and entry.version > newest:
            yield f"opset {entry.version} is newer than {newest}, the parser's newest"


def _operators(model: onnx.ModelProto) -> Iterator[str]:
    for domain, kind in sorted({(node.domain, node.op_type) for node in model.graph.node}):
        if domain not in _STANDARD:
            yield f"{kind} of {domain} needs a plugin"
        elif kind not in OPERATORS:
            yield f"{kind} is not in the table of operators that are known to build"


def _unused(model: onnx.ModelProto) -> Iterator[str]:
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


def _typing(model: onnx.ModelProto) -> Iterator[str]:
    """Strongly typed networks: an operator's inputs must have the types of its definition."""
    try:
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except shape_inference.InferenceError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        yield lines[-1].strip() if lines else "types do not fit"
