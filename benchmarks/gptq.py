"""What GPTQ saves of the error of nano's 4-bit products, and what it costs (docs/calibration.md).

python benchmarks/gptq.py                      # on questions that were not measured
python benchmarks/gptq.py --shape 11008 2048   # CPU time of one random matrix [out, in]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from awares_edge.calibration.questions import synthetic_questions  # noqa: E402
from awares_edge.calibration.weights import measure_weights  # noqa: E402
from awares_edge.checkpoint.checkpoint import Checkpoint  # noqa: E402
from awares_edge.export.graph.weights import Matrix  # noqa: E402
from awares_edge.export.hessians import Hessian, input_owner, upper_triangle  # noqa: E402
from awares_edge.export.measured import layer_name  # noqa: E402
from awares_edge.export.onnx.formats import BlockInt4  # noqa: E402
from awares_edge.export.smoothing.sites import find_sites  # noqa: E402

NANO = ROOT / "checkpoints" / "nano"
WIDEST = 4096
ROWS = 2048
"""Of a piece of a streamed matrix."""


def compare(measured: int, others: int, block: int) -> None:
    """Squared errors of products over those without GPTQ: geometric means over the matrices."""
    asked = synthetic_questions(measured + others)
    ours, theirs = (
        measure_weights(NANO, part, protocol="nano", hessian_limit=WIDEST).hessians
        for part in (asked[:measured], asked[measured:])
    )
    source = Checkpoint.open(NANO)
    shares: dict[str, list[float]] = defaultdict(list)
    for name in (name for site in find_sites(source.spec) for name in site.matrices):
        key = input_owner(layer_name(name.split("+")[0]))
        rows = np.concatenate(list(Matrix.of(source, *name.split("+")).rows()))
        inputs = theirs[key].matrix()
        error, plain = (
            np.sum((difference @ inputs) * difference)
            for hessian in (ours[key], None)
            for difference in [rows - BlockInt4(block, hessian).round_trip(rows)]
        )
        shares[name.split(".")[0]].append(float(error / plain))
    for tower, found in shares.items():
        mean = np.exp(np.mean(np.log(found)))
        print(f"{tower}: {mean:.3f} of the squared error, at most {max(found):.3f}")


def cost(out: int, inner: int, block: int) -> None:
    rng = np.random.default_rng(0)
    mixing = np.eye(inner, dtype=np.float32) + rng.normal(0, inner**-0.5, (inner, inner))
    inputs = rng.standard_normal((2 * inner, inner), dtype=np.float32) @ mixing
    triangle = upper_triangle(inputs.T @ inputs / len(inputs))
    matrix = rng.standard_normal((out, inner), dtype=np.float32)
    for hessian in (None, Hessian("random", inner, lambda: triangle)):
        start = time.process_time()
        for tensor in BlockInt4(block, hessian).encode(pieces(matrix), matrix.shape):
            for _ in tensor:
                pass
        took = time.process_time() - start
        name = "GPTQ" if hessian else "without"
        print(f"{name}: {took:.1f} s of CPU time")


def pieces(matrix: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(matrix), ROWS):
        yield matrix[start : start + ROWS]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--others", type=int, default=72)
    parser.add_argument("--block", type=int, default=64)
    parser.add_argument("--shape", type=int, nargs=2, metavar=("OUT", "IN"))
    args = parser.parse_args()
    if args.shape:
        cost(*args.shape, args.block)
    else:
        compare(args.questions, args.others, args.block)


if __name__ == "__main__":
    main()
