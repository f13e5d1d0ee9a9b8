"""What this machine can do at most, measured: products per second, and bytes read per second."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.evaluation.profile.tiny_onnx import product_model

_SIZE = 1024
_SECONDS = 0.6
_BUFFER = 256 << 20


def measure_limits(threads: int) -> dict[str, float]:
    """The machine's limits with so many threads.

    The process must have been started with the same number for NumPy's library, which reads it once
    (OPENBLAS_NUM_THREADS and its like).

    Returns:
        "fp32_flops" and "int8_ops" (a product of two 1024 x 1024 matrices in onnxruntime, for fp32
        in NumPy too, the best of both) and "read_bytes_s" (256 MiB, larger than caches). Operations
        count multiplications and additions. "int8_ops" is missing without onnxruntime.
    """
    rng = np.random.default_rng(0)
    a = rng.standard_normal((_SIZE, _SIZE), dtype=np.float32)
    operations = 2.0 * _SIZE**3
    fp32 = [operations / _best(lambda: np.matmul(a, a))]
    found: dict[str, float] = {}
    if (run := _onnx_product("MatMul", a, a, "float32", threads)) is not None:
        fp32.append(operations / _best(run))
        x = rng.integers(0, 256, (_SIZE, _SIZE), dtype=np.uint8)
        w = rng.integers(-127, 128, (_SIZE, _SIZE), dtype=np.int8)
        run = _onnx_product("MatMulInteger", x, w, "int32", threads)
        assert run is not None
        found["int8_ops"] = operations / _best(run)
    found["fp32_flops"] = max(fp32)
    found["read_bytes_s"] = _read_speed(threads)
    return found


def _onnx_product(
    operator: str, x: NDArray[Any], weight: NDArray[Any], out: str, threads: int
) -> Callable[[], object] | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = product_model(operator, len(x), weight, str(x.dtype), out)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def _read_speed(threads: int) -> float:
    """Bytes per second of a scalar product of a buffer with itself, a part for each thread."""
    buffer = np.ones(_BUFFER // 4, dtype=np.float32)
    parts = np.array_split(buffer, threads)
    if threads == 1:
        return _BUFFER / _best(lambda: np.dot(buffer, buffer))
    with ThreadPoolExecutor(threads) as pool:
        pooled = _best(lambda: list(pool.map(np.sum, parts)))
    return _BUFFER / min(pooled, _best(lambda: np.dot(buffer, buffer)))


def _best(run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs: a limit is what nothing disturbed."""
    run()
    times: list[float] = []
    while sum(times) < _SECONDS or len(times) < 5:
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    return min(times)
