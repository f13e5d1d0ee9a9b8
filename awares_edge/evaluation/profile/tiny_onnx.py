"""One matrix product as an ONNX model, written without the onnx package, which devices lack.

ONNX files are protocol buffers: (field number, wire type) before each value. Field numbers are
those of onnx.proto3.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

_IR_VERSION, _OPSET = 8, 17
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6}


def product_model(operator: str, rows: int, weight: NDArray[Any], left: str, out: str) -> bytes:
    """A model of `y = operator(x, weight)`.

    Args:
        operator: "MatMul" or "MatMulInteger".
        rows: rows of x, whose columns are the weight's rows.
        weight: [k, n], kept in the model.
        left, out: names of the NumPy types of x and y.
    """
    columns, width = weight.shape
    node = _text(1, "x") + _text(1, "w") + _text(2, "y") + _text(4, operator)
    dims = b"".join(_number(1, size) for size in weight.shape)
    kind = _number(2, _TYPES[str(weight.dtype)])
    tensor = dims + kind + _text(8, "w") + _bytes(9, weight.tobytes())
    graph = (
        _bytes(1, node)
        + _text(2, "product")
        + _bytes(5, tensor)
        + _bytes(11, _value("x", left, (rows, columns)))
        + _bytes(12, _value("y", out, (rows, width)))
    )
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, _OPSET))


def _value(name: str, kind: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, size)) for size in shape)
    tensor = _number(1, _TYPES[kind]) + _bytes(2, dims)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
