"""The six benchmarks of the AwaRes paper, one file each."""

from __future__ import annotations

from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks.base import Benchmark, Rules, Scored
from awares_edge.evaluation.benchmarks.chartqa import ChartQA
from awares_edge.evaluation.benchmarks.docvqa import DocVQA
from awares_edge.evaluation.benchmarks.ocrbench import OCRBench
from awares_edge.evaluation.benchmarks.pope import POPE
from awares_edge.evaluation.benchmarks.realworldqa import RealWorldQA
from awares_edge.evaluation.benchmarks.vstar import VStar

__all__ = ["BENCHMARKS", "Benchmark", "Rules", "Scored", "get_benchmark"]

# In the order of the paper's table.
BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (ChartQA(), DocVQA(), OCRBench(), POPE(), RealWorldQA(), VStar())
}


def get_benchmark(name: str) -> Benchmark:
    """The benchmark of this name.

    Raises:
        InputError: there is none.
    """
    try:
        return BENCHMARKS[name]
    except KeyError:
        names = ", ".join(BENCHMARKS)
        raise InputError(f"no benchmark {name!r}: choose one of {names}") from None
