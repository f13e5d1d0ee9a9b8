"""Two runs over the same questions: is one better, or was it luck?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import zip_longest
from math import isfinite
from pathlib import Path
from typing import Any

from awares_edge.errors import InputError
from awares_edge.evaluation.intervals import mcnemar, of_mean
from awares_edge.evaluation.run.folder import ROWS, read_settings, runs
from awares_edge.evaluation.run.rows import Row, read_rows

# A graded answer counts as right from this score on; below it ANLS gives 0 (DocVQA).
_RIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Comparison:
    """The questions that both runs answered.

    Attributes:
        suite: name of the suite.
        first_mode, second_mode: modes of the runs.
        questions: answered by both.
        left_out: that failed in one of them.
        first, second: mean scores.
        difference: of the means, second less first, with its 95% interval over the pairs.
        only_first, only_second: questions that only one run got right.
        p: two-sided exact p-value of McNemar's test.
    """

    suite: str
    first_mode: str
    second_mode: str
    questions: int
    left_out: int
    first: float
    second: float
    difference: float
    difference_ci: tuple[float, float] | None
    only_first: int
    only_second: int
    p: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(first: Path, second: Path) -> list[Comparison]:
    """Compare runs of the same suite and mode in two folders; or two runs of any modes.

    Raises:
        InputError: nothing to compare; or the runs are over other data.
    """
    ours, theirs = runs(first), runs(second)
    if len(ours) == len(theirs) == 1:
        pairs = [(*ours.values(), *theirs.values())]
    else:
        pairs = [(ours[key], theirs[key]) for key in ours if key in theirs]
    if not pairs:
        raise InputError(f"{first} and {second} hold no runs of the same suite and mode")
    return [_compare(*pair) for pair in pairs]


def _compare(first: Path, second: Path) -> Comparison:
    ours, theirs = read_settings(first), read_settings(second)
    for key in ("suite", "data", "shard", "limit"):
        if ours.get(key) != theirs.get(key):
            raise InputError(
                f"{first} and {second} differ in {key}: they asked different questions"
            )
    pairs: list[tuple[float, float]] = []
    left_out = 0
    for a, b in zip_longest(read_rows(first / ROWS), read_rows(second / ROWS)):
        if a is None or b is None or a.index != b.index:
            raise InputError(f"{first} and {second} have different rows: finish both runs first")
        if a.score is None or b.score is None:
            left_out += 1
        else:
            pairs.append((_same(a, b, first, second).score or 0.0, b.score))
    if not pairs:
        raise InputError(f"{first} and {second} have no question that both answered")
    names = (str(ours["suite"]), str(ours["mode"]), str(theirs["mode"]))
    return _judge(names, pairs, left_out)


def _same(a: Row, b: Row, first: Path, second: Path) -> Row:
    if a.id != b.id or a.references != b.references:
        raise InputError(f"{first} and {second} have different questions (row {a.index})")
    return a


def _judge(
    names: tuple[str, str, str], pairs: list[tuple[float, float]], left_out: int
) -> Comparison:
    count = len(pairs)
    means = [sum(scores) / count for scores in zip(*pairs, strict=True)]
    low, high = of_mean([b - a for a, b in pairs])
    only_first = sum(a >= _RIGHT > b for a, b in pairs)
    only_second = sum(b >= _RIGHT > a for a, b in pairs)
    return Comparison(
        *names,
        count,
        left_out,
        round(means[0], 4),
        round(means[1], 4),
        round(means[1] - means[0], 4),
        (round(low, 4), round(high, 4)) if isfinite(low) else None,
        only_first,
        only_second,
        mcnemar(only_first, only_second),
    )
