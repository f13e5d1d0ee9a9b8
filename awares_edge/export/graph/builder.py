"""A small builder of ONNX graphs whose weights stay on disk until they are streamed out.

Linear layers take two-dimensional activations [N, in]; how a matrix is stored, and by which nodes
it is multiplied, is the business of its weight format. The operators here are primitives that every
ONNX consumer takes; a dialect overrides what its runtime has a fused operator for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.export.graph.weights import (
    FP32,
    Location,
    Matrix,
    TensorType,
    WeightFormat,
    Written,
    read,
    write_matrices,
)

Shape: TypeAlias = Sequence[int | str]
FormatOf: TypeAlias = Callable[[str, tuple[int, int]], WeightFormat]
"""Weight format of a matrix, by its name ("a.weight", "a.weight+b.weight") and shape."""


class Builder:
    """An ONNX graph under construction.

    Attributes:
        opset, ir_version, domains: of the file; `domains` holds versions by name of the domain.
        name: of the graph.
        compute: dtype of activations, biases and norms.
    """

    opset = 20
    ir_version = 9
    domains: ClassVar[Mapping[str, int]] = {}

    def __init__(
        self, name: str, weights: Weights, compute: np.dtype[Any], format_of: FormatOf
    ) -> None:
        self.name = name
        self.compute = compute
        self._weights = weights
        self._format_of = format_of
        self._matrices: dict[str, tuple[Matrix, WeightFormat]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._outputs: dict[str, onnx.ValueInfoProto] = {}
        self._constants: dict[str, onnx.TensorProto] = {}
        self._shared: dict[tuple[str, ...], str] = {}
        self._numbers = count(1)

    def input(self, name: str, dtype: Any, shape: Shape) -> str:
        self._inputs[name] = _value(name, dtype, shape)
        return name

    def output(self, name: str, dtype: Any, shape: Shape, value: str = "") -> None:
        """Declare an output of the graph.

        Args:
            value: what it is to hold; without it a node makes a value of this name.
        """
        if value:
            self.op("Identity", value, outputs=[name])
        self._outputs[name] = _value(name, dtype, shape)

    def op(
        self, kind: str, *inputs: str, outputs: Sequence[str] = (), domain: str = "", **attrs: Any
    ) -> str:
        """Add a node; the name of its first output."""
        name = self.fresh(kind)
        names = list(outputs) or [name]
        node = helper.make_node(kind, inputs, names, name=name, domain=domain, **attrs)
        self._nodes.append(node)
        return names[0]

    def once(self, kind: str, *inputs: str) -> str:
        """A node that several layers share."""
        key = (kind, *inputs)
        if key not in self._shared:
            self._shared[key] = self.op(kind, *inputs)
        return self._shared[key]

    def fresh(self, kind: str) -> str:
        """A name that no other value has."""
        return f"{kind}_{next(self._numbers)}"

    def split(self, value: str, sizes: Sequence[int]) -> list[str]:
        """Cut a value along its last axis."""
        names = [self.fresh("Split") for _ in sizes]
        self.op("Split", value, self.integers(sizes), outputs=names, axis=-1)
        return names

    def reshape(self, value: str, *shape: int) -> str:
        return self.op("Reshape", value, self.integers(shape))

    def cast(self, value: str, dtype: np.dtype[Any]) -> str:
        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(dtype))

    def narrow(self, value: str) -> str:
        """A float32 value in the graph's compute dtype."""
        return value if self.compute == FP32 else self.cast(value, self.compute)

    def widen(self, value: str) -> str:
        """A value of the graph's compute dtype in float32."""
        return value if self.compute == FP32 else self.cast(value, FP32)

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A small array kept inside the graph file."""
        if name not in self._constants:
            # Not `ascontiguousarray`, which makes vectors of scalars.
            self._constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def integers(self, values: Iterable[int]) -> str:
        """A constant int64 vector."""
        items = list(values)
        return self.constant("i_" + "_".join(map(str, items)), np.array(items, dtype=np.int64))

    def scalar(self, value: float, dtype: np.dtype[Any]) -> str:
        """A constant of rank 0."""
        return self.constant(f"c_{value!r}:{dtype.name}", np.array(value, dtype=dtype))

    def vector(self, *names: str, dtype: np.dtype[Any] | None = None) -> str:
        """Biases or norm weights, joined; kept inside the graph file."""
        dtype = dtype or self.compute
        parts = [piece for name in names for piece in read(self._weights.tensor(name), dtype)]
        return self.constant("+".join(names) + f":{dtype.name}", np.concatenate(parts))

    def matrix(self, matrix: Matrix, fmt: WeightFormat) -> list[str]:
        """The stored tensors of a matrix; it is then written to the weight file."""
        names = [matrix.name + suffix for suffix in fmt.tensors(matrix.shape)]
        self._matrices.setdefault(names[0], (matrix, fmt))
        return names

    def linear(
        self,
        value: str,
        *names: str,
        bias: bool = False,
        dtype: np.dtype[Any] | None = None,
    ) -> str:
        """value [N, in] times the joined `{name}.weight` [out, in], plus `{name}.bias`.

        Args:
            dtype: of the value and the result; None for the graph's.
        """
        dtype = dtype or self.compute
        matrix = Matrix.of(self._weights, *(f"{name}.weight" for name in names))
        vector = self.vector(*(f"{name}.bias" for name in names), dtype=dtype) if bias else None
        fmt = self._format_of(matrix.name, matrix.shape)
        return fmt.multiply(self, value, matrix, vector, dtype)

    def wide_linear(self, value: str, name: str) -> str:
        """A linear layer, bias included, whose result may exceed float16: float32 in and out."""
        return self.linear(value, name, bias=True, dtype=FP32)

    def rms_norm(
        self, value: str, name: str, eps: float, dtype: np.dtype[Any] | None = None
    ) -> str:
        """RMS norm over the last axis; the mean square in float32, as in the reference model.

        Args:
            dtype: of the value and the result; None for the graph's.
        """
        dtype = dtype or self.compute
        wide = value if dtype == FP32 else self.cast(value, FP32)
        squares = self.op("ReduceMean", self.op("Mul", wide, wide), self.integers([-1]), keepdims=1)
        root = self.op("Sqrt", self.op("Add", squares, self.scalar(eps, FP32)))
        normed = self.op("Div", wide, root)
        if dtype != FP32:
            normed = self.cast(normed, dtype)
        return self.op("Mul", normed, self.vector(f"{name}.weight", dtype=dtype))

    def add_rms_norm(self, value: str, residual: str, name: str, eps: float) -> tuple[str, str]:
        """(norm of the sum, the sum)."""
        total = self.op("Add", value, residual)
        return self.rms_norm(total, name, eps), total

    def silu(self, value: str) -> str:
        return self.op("Mul", value, self.op("Sigmoid", value))

    def gelu(self, value: str) -> str:
        """The exact GELU."""
        return self.op("Gelu", value)

    def write_weights(
        self, path: Path, written: Written, known: Mapping[str, Location]
    ) -> dict[str, Location]:
        """Write the graph's matrices to a file; see `write_matrices`."""
        return write_matrices(path, self._matrices.values(), written, known)

    def model(self, places: Mapping[str, Location]) -> onnx.ModelProto:
        """The finished graph.

        Args:
            places: where each tensor of the graph's matrices is stored.
        """
        initializers = list(self._constants.values())
        for matrix, fmt in self._matrices.values():
            for suffix, kind in fmt.tensors(matrix.shape).items():
                name = matrix.name + suffix
                initializers.append(_external(name, kind, places[name]))
        graph = helper.make_graph(
            self._nodes,
            self.name,
            list(self._inputs.values()),
            list(self._outputs.values()),
            initializers,
        )
        opsets = {"": self.opset, **self.domains}
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*item) for item in opsets.items()],
            ir_version=self.ir_version,
            producer_name="awares-edge",
        )


def _value(name: str, dtype: Any, shape: Shape) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, list(shape))


def _external(name: str, kind: TensorType, place: Location) -> TensorProto:
    proto = TensorProto(name=name, data_type=kind.dtype, dims=kind.shape)
    proto.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", place.file),
        ("offset", str(place.offset)),
        ("length", str(place.length)),
    ):
        proto.external_data.add(key=key, value=value)
    return proto
