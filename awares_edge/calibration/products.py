"""The time of one matrix product in onnxruntime, in each format that an export may store it in.

The graph is what an export writes, with noise for weights: times do not depend on values. It holds
as many matrices as the model has beside one another, up to `_MOST_BYTES`, so that a product finds
its weights in the CPU's caches or not, as it will in the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper

from awares_edge.checkpoint.tensorfile import Tensor
from awares_edge.export.graph.weights import (
    ALIGNMENT,
    FP32,
    Location,
    Matrix,
    TensorType,
    WeightFormat,
)
from awares_edge.export.onnx.dialect import OnnxBuilder
from awares_edge.runtimes.devices import Device
from awares_edge.runtimes.onnx.graphs import open_graph

_MOST_BYTES = 64 << 20
"""Of one graph's weights: more than the last cache of an edge device."""
_MOST_COPIES = 256
_LEAST_RUNS, _LEAST_MS = 3, 100.0
Shape = tuple[int, int]


def time_products(
    format: WeightFormat,
    shape: Shape,
    rows: Iterable[int],
    *,
    bias: bool,
    numbers: int,
    threads: int,
) -> dict[int, float]:
    """Milliseconds of a product [n, in] by [out, in] transposed, by each n of `rows`.

    Args:
        shape: of the matrix, [out, in].
        bias: whether a vector is added: a tenth of the time of a float product.
        numbers: of all matrices that the model goes through before it comes back to this one.
    """
    size = sum(_computed_bytes(kind) for kind in format.tensors(shape).values())
    share = -(-numbers // (shape[0] * shape[1]))
    copies = max(1, min(share, _MOST_BYTES // size, _MOST_COPIES))
    with TemporaryDirectory(prefix="awares-edge-") as folder:
        path = _write_graph(Path(folder), format, shape, bias, copies)
        session = open_graph(path, Device("cpu"), threads)
        rng = np.random.default_rng(0)
        found = {}
        for count in rows:
            x = rng.standard_normal((count, shape[1]), dtype=np.float32)
            found[count] = typical_ms(lambda x=x: session.run(None, {"x": x}), threads) / copies  # type: ignore[misc]
        return found


def typical_ms(run: Callable[[], object], threads: int) -> float:
    """Median milliseconds of several runs, after one that warms up.

    On one thread this is CPU time: the same as the time that passes, unless other programs compute
    as well.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    run()
    times: list[float] = []
    while len(times) < _LEAST_RUNS or sum(times) < _LEAST_MS:
        start = clock()
        run()
        times.append((clock() - start) * 1e3)
    return median(times)


def _write_graph(folder: Path, format: WeightFormat, shape: Shape, bias: bool, copies: int) -> Path:
    """A graph of one input by several matrices of noise."""
    graph = OnnxBuilder("products", _NoWeights(), FP32, lambda *_: format)
    graph.input("x", FP32, ["rows", shape[1]])
    places: dict[str, Location] = {}
    sizes = []
    for number, (suffix, kind) in enumerate(format.tensors(shape).items()):
        path = folder / f"{number}.data"
        path.write_bytes(_noise(kind, copies * ALIGNMENT))
        # onnxruntime keeps equal weights once: each matrix begins elsewhere in the same noise.
        for copy in range(copies):
            places[f"{copy}{suffix}"] = Location(path.name, copy * ALIGNMENT, kind.size)
    vector = graph.constant("bias", np.ones(shape[0], dtype=np.float32)) if bias else None
    for copy in range(copies):
        product = format.multiply(graph, "x", Matrix(str(copy), (), shape), vector, FP32)
        # Only its shape goes on, so that the memory of the product is free for the next one.
        sizes.append(graph.op("Shape", product))
    graph.output("sizes", np.int64, [2 * copies], graph.op("Concat", *sizes, axis=0))
    path = folder / "products.onnx"
    onnx.save_model(graph.model(places), str(path))
    return path


def _noise(kind: TensorType, more: int) -> bytes:
    """Numbers for a tensor of this type, and `more` bytes of them."""
    rng = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(kind.dtype)
    if np.issubdtype(dtype, np.integer):
        return rng.bytes(kind.size + more)
    count = (kind.size + more) // dtype.itemsize
    noise: bytes = (0.02 * rng.random(count, dtype=np.float32)).astype(dtype).tobytes()
    return noise


def _computed_bytes(kind: TensorType) -> int:
    """Bytes in memory: onnxruntime widens fp16 to fp32."""
    return kind.size * (2 if kind.dtype == onnx.TensorProto.FLOAT16 else 1)


class _NoWeights:
    """Weights of a graph that reads none."""

    def tensor(self, name: str) -> Tensor:
        raise KeyError(name)
