"""Saved predictions: JSON lines of this package or of another program, scored again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks.base import Benchmark, Scored, texts
from awares_edge.evaluation.scorers import Scorer
from awares_edge.lines import numbered_lines


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be scored, and why.

    Attributes:
        line: its number, from 1.
    """

    line: int
    reason: str


def score_file(
    path: Path, benchmark: Benchmark, scorer: Scorer
) -> Iterator[tuple[int, Scored | BadRow]]:
    """Score a file of JSON lines, one at a time.

    A line holds `prediction`, `references` (a text or a list of texts) and the benchmark's `needs`;
    its other `facts` are used where they are there. They may also be inside an object `facts`, as
    `evaluate` writes them. Empty lines are skipped.

    Yields:
        (line number from 1, the scored row or what is wrong with it).

    Raises:
        InputError: the file cannot be read.
    """
    for number, line in numbered_lines(path):
        try:
            yield number, _score_line(line, benchmark, scorer)
        except InputError as error:
            yield number, BadRow(number, str(error))


def _score_line(line: bytes, benchmark: Benchmark, scorer: Scorer) -> Scored:
    # Not `parse_line`: other programs write NaN, in fields that are not read here.
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError("not valid JSON") from error
    if not isinstance(row, dict):
        raise InputError("not a JSON object")
    prediction = row.get("prediction")
    if not isinstance(prediction, str):
        raise InputError("'prediction' must be text")
    references = texts(row, "references")
    facts = _facts(row, benchmark)
    prediction = prediction.strip()
    score = benchmark.score(prediction, references, facts, scorer)
    return Scored(prediction, references, score, facts)


def _facts(row: dict[str, Any], benchmark: Benchmark) -> dict[str, str]:
    facts = {}
    given = row.get("facts")
    source = given if isinstance(given, dict) else row
    for name in benchmark.facts:
        value = source.get(name)
        if isinstance(value, str):
            facts[name] = value
        elif value is not None or name in benchmark.needs:
            raise InputError(f"{name!r} must be text")
    return facts
