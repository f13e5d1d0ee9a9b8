"""A small builder of ONNX graphs whose weights stay on disk until they are streamed out.

Linear layers are `Gemm(transB=1)` over two-dimensional activations: the weight is stored just as
the checkpoint has it, [out, in], so nothing is ever transposed, fused weights are written one part
after another, and a bias costs no extra node.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from awares_edge.checkpoint.tensorfile import Tensor, Weights
from awares_edge.export.onnx.weights import Location

OPSET, MICROSOFT_OPSET, IR_VERSION = 21, 1, 10
MICROSOFT = "com.microsoft"

Shape: TypeAlias = Sequence[int | str]

FP32: np.dtype[Any] = np.dtype(np.float32)
FP16: np.dtype[Any] = np.dtype(np.float16)


@dataclass(frozen=True, slots=True)
class Precision:
    """Number formats of a graph.

    Attributes:
        storage: of matrices in the weight file.
        compute: of activations, biases and norms.
    """

    storage: np.dtype[Any]
    compute: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class StoredWeight:
    """A matrix in the weight file: `parts` stand one after another along the first axis."""

    name: str
    parts: tuple[Tensor, ...]
    shape: tuple[int, ...]


class Graph:
    """An ONNX graph under construction.

    Attributes:
        stored: matrices that have to be in the weight file.
        outside: matrices that already lie in another file of the bundle.
    """

    def __init__(self, name: str, weights: Weights, precision: Precision) -> None:
        self.name = name
        self.precision = precision
        self.stored: list[StoredWeight] = []
        self.outside: dict[str, Location] = {}
        self._weights = weights
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._count = 0

    def input(self, name: str, dtype: Any, shape: Shape) -> str:
        self._inputs.append(_value(name, dtype, shape))
        return name

    def output(self, name: str, dtype: Any, shape: Shape) -> None:
        """Declare a value that a node makes as an output of the graph."""
        self._outputs.append(_value(name, dtype, shape))

    def op(
        self, kind: str, *inputs: str, outputs: Sequence[str] = (), domain: str = "", **attrs: Any
    ) -> str:
        """Add a node; the name of its first output."""
        self._count += 1
        name = f"{kind}_{self._count}"
        names = list(outputs) or [name]
        node = helper.make_node(kind, inputs, names, name=name, domain=domain, **attrs)
        self._nodes.append(node)
        return names[0]

    def split(self, value: str, sizes: Sequence[int]) -> list[str]:
        """Cut a value along its last axis."""
        self._count += 1
        names = [f"Split_{self._count}_{i}" for i in range(len(sizes))]
        self.op("Split", value, self.integers(sizes), outputs=names, axis=-1)
        return names

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A small array kept inside the graph file."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def integers(self, values: Iterable[int]) -> str:
        """A constant int64 vector."""
        items = list(values)
        return self.constant("i_" + "_".join(map(str, items)), np.array(items, dtype=np.int64))

    def reshape(self, value: str, *shape: int) -> str:
        return self.op("Reshape", value, self.integers(shape))

    def cast(self, value: str, dtype: np.dtype[Any]) -> str:
        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(dtype))

    def vector(self, *names: str, dtype: np.dtype[Any] | None = None) -> str:
        """Bias or norm weights, joined; kept inside the graph file in the compute format."""
        dtype = dtype or self.precision.compute
        parts = [self._weights.tensor(name) for name in names]
        array = np.concatenate([part.rows(0, part.shape[0]) for part in parts])
        return self.constant("+".join(names) + f":{dtype.name}", array.astype(dtype))

    def matrix(self, *names: str, dtype: np.dtype[Any] | None = None) -> str:
        """A matrix of the weight file, made of tensors joined along their first axis."""
        name = "+".join(names)
        if name not in self._shapes and name not in self.outside:
            parts = tuple(self._weights.tensor(n) for n in names)
            columns = int(np.prod(parts[0].shape[1:]))
            shape = (sum(part.shape[0] for part in parts), columns)
            self.stored.append(StoredWeight(name, parts, shape))
            self._shapes[name] = shape
        storage = self.precision.storage
        dtype = dtype or self.precision.compute
        return name if dtype == storage else self.cast(name, dtype)

    def linear(
        self,
        value: str,
        *names: str,
        bias: bool = False,
        dtype: np.dtype[Any] | None = None,
    ) -> str:
        """value [N, in] times the joined `{name}.weight` [out, in], plus `{name}.bias`."""
        inputs = [value, self.matrix(*(f"{name}.weight" for name in names), dtype=dtype)]
        if bias:
            inputs.append(self.vector(*(f"{name}.bias" for name in names), dtype=dtype))
        return self.op("Gemm", *inputs, transB=1)

    def rms_norm(
        self, value: str, name: str, eps: float, dtype: np.dtype[Any] | None = None
    ) -> str:
        scale = self.vector(f"{name}.weight", dtype=dtype)
        return self.op("SimplifiedLayerNormalization", value, scale, axis=-1, epsilon=eps)

    def add_rms_norm(self, value: str, residual: str, name: str, eps: float) -> tuple[str, str]:
        """(norm of the sum, the sum)."""
        scale = self.vector(f"{name}.weight")
        self._count += 1
        normed, total = f"norm_{self._count}", f"sum_{self._count}"
        self.op(
            "SkipSimplifiedLayerNormalization",
            value,
            residual,
            scale,
            outputs=[normed, "", "", total],
            domain=MICROSOFT,
            epsilon=eps,
        )
        return normed, total

    def silu(self, value: str) -> str:
        return self.op("QuickGelu", value, domain=MICROSOFT, alpha=1.0)

    def model(self, locations: dict[str, Location]) -> onnx.ModelProto:
        """The finished graph, its matrices pointing into files.

        Args:
            locations: where each stored matrix was written.
        """
        storage = helper.np_dtype_to_tensor_dtype(self.precision.storage)
        initializers = list(self._constants.values())
        for weight in self.stored:
            initializers.append(_external(weight.name, storage, weight.shape, locations))
        for name, location in self.outside.items():
            initializers.append(_external(name, storage, location.shape, self.outside))
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, MICROSOFT_OPSET)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="awares-edge"
        )


def _value(name: str, dtype: Any, shape: Shape) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, list(shape))


def _external(
    name: str, dtype: int, shape: Sequence[int], locations: dict[str, Location]
) -> onnx.TensorProto:
    location = locations[name]
    proto = TensorProto(name=name, data_type=dtype, dims=shape)
    proto.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", location.file),
        ("offset", str(location.offset)),
        ("length", str(location.length)),
    ):
        proto.external_data.add(key=key, value=value)
    return proto
