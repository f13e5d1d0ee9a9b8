"""Small graphs that TensorRT is known to refuse, or to compute only in part."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

HALF = TensorProto.FLOAT16
MICROSOFT = "com.microsoft"


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def node(kind, *inputs, out, domain="", **attributes):
    outputs = [out] if isinstance(out, str) else list(out)
    name = f"{kind}_{outputs[0]}"
    return helper.make_node(kind, inputs, outputs, name=name, domain=domain, **attributes)


def small(nodes, inputs, outputs, *, weights=(), opset=24) -> ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", opset)]
    if any(n.domain == MICROSOFT for n in nodes):
        opsets.append(helper.make_opsetid(MICROSOFT, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=11)


def _qkv(kind=HALF):
    return [value(name, kind, [1, 4, 8, 64]) for name in "qkv"]


def attention_with_past():
    cache = [value(name, HALF, [1, 4, 8, 64]) for name in ("pk", "pv")]
    grown = [value(name, HALF, [1, 4, 16, 64]) for name in ("nk", "nv")]
    attention = node("Attention", "q", "k", "v", "", "pk", "pv", out=("y", "nk", "nv"))
    return small([attention], [*_qkv(), *cache], [value("y", HALF, [1, 4, 8, 64]), *grown])


def attention_with_lengths():
    attention = node("Attention", "q", "k", "v", "", "", "", "n", out="y")
    inputs = [*_qkv(), value("n", TensorProto.INT64, [1])]
    return small([attention], inputs, [value("y", HALF, [1, 4, 8, 64])])


def float_attention():
    kind = TensorProto.FLOAT
    return small(
        [node("Attention", "q", "k", "v", out="y")], _qkv(kind), [value("y", kind, [1, 4, 8, 64])]
    )


def group_query_attention():
    attention = node(
        "GroupQueryAttention", "q", "k", "v", out="y", domain=MICROSOFT, num_heads=4, kv_num_heads=4
    )
    inputs = [value(name, HALF, [1, 8, 256]) for name in "qkv"]
    return small([attention], inputs, [value("y", HALF, [1, 8, 256])])


def matmul_nbits():
    product = node(
        *("MatMulNBits", "x", "w", "s"),
        out="y",
        domain=MICROSOFT,
        K=64,
        N=32,
        bits=4,
        block_size=32,
    )
    weights = [
        numpy_helper.from_array(np.zeros((32, 2, 16), np.uint8), "w"),
        numpy_helper.from_array(np.ones(64, np.float16), "s"),
    ]
    return small(
        [product], [value("x", HALF, [1, 64])], [value("y", HALF, [1, 32])], weights=weights
    )


def non_zero(*, extra=False):
    nodes = [node("NonZero", "x", out="y")] + [node("Sqrt", "x", out="z")] * extra
    return small(nodes, [value("x", HALF, [8])], [value("y", TensorProto.INT64, [1, "n"])])


def unique():
    kind = TensorProto.FLOAT
    return small([node("Unique", "x", out="y")], [value("x", kind, [8])], [value("y", kind, ["n"])])


def mixed_add():
    inputs = [value("a", HALF, [8]), value("b", TensorProto.FLOAT, [8])]
    return small([node("Add", "a", "b", out="y")], inputs, [value("y", HALF, [8])], opset=20)


def dynamic_add():
    inputs, outputs = [value("a", HALF, ["n", 8])], [value("y", HALF, ["n", 8])]
    return small([node("Add", "a", "a", out="y")], inputs, outputs, opset=20)


def quantized_gemm(kind: str) -> ModelProto:
    """x [16, 64] times a matrix, both quantized to "int8" or "fp8" and back."""
    if kind == "fp8":
        import ml_dtypes

        dtype = np.dtype(ml_dtypes.float8_e4m3fn)
    else:
        dtype = np.dtype(np.int8)
    weights = [
        numpy_helper.from_array(np.array(0.1, np.float16), "s"),
        numpy_helper.from_array(np.zeros((), dtype), "z"),
        numpy_helper.from_array(np.ones((64, 64), dtype), "w"),
        numpy_helper.from_array(np.full(64, 0.1, np.float16), "ws"),
    ]
    nodes = [
        node("QuantizeLinear", "x", "s", "z", out="xq"),
        node("DequantizeLinear", "xq", "s", "z", out="xd"),
        node("DequantizeLinear", "w", "ws", out="wd", axis=0),
        node("Gemm", "xd", "wd", out="y", transB=1),
    ]
    x, y = value("x", HALF, [16, 64]), value("y", HALF, [16, 64])
    return small(nodes, [x], [y], weights=weights, opset=20)
