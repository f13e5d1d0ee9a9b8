"""Suites by name: one way to name questions, for every command that asks some."""

from __future__ import annotations

from pathlib import Path

from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks import BENCHMARKS, get_benchmark
from awares_edge.evaluation.suites.base import Suite
from awares_edge.evaluation.suites.own import OwnSuite
from awares_edge.evaluation.suites.published import PublishedSuite, find_files
from awares_edge.evaluation.suites.synth import SynthSuite
from awares_edge.extras import require


def open_suites(what: str, data: str | None = None, synth: SynthSuite | None = None) -> list[Suite]:
    """The suites of this name; their files are checked, their rows not read.

    Args:
        what: a benchmark; "all" for the six; "synth"; or the path of a `.jsonl` file.
        data: where published files are (see `find_files`).
        synth: the synthetic questions that "synth" means; None for the default ones.

    Raises:
        RuntimeUnavailable: a package is missing.
        InputError: no such suite, or its data cannot be used.
    """
    if what == "synth" or what.endswith(".jsonl"):
        if data is not None:
            raise InputError(f"{what} is not published: it takes no folder of published files")
        return [synth or SynthSuite() if what == "synth" else OwnSuite(Path(what))]
    benchmarks = list(BENCHMARKS.values()) if what == "all" else [get_benchmark(what)]
    for benchmark in benchmarks:
        require(f"scoring {benchmark.name}", benchmark.packages)
    several = len(benchmarks) > 1
    return [PublishedSuite(b, find_files(b, data, several=several)) for b in benchmarks]
