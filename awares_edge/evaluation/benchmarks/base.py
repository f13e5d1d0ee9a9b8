"""What a benchmark is: how a published row becomes a question, a score, and a total."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from awares_edge.errors import InputError
from awares_edge.evaluation.question import Question
from awares_edge.evaluation.scorers import Scorer


@dataclass(frozen=True, slots=True)
class Scored:
    """A prediction and its score; `references` and `facts` are its question's."""

    prediction: str
    references: tuple[str, ...]
    score: float
    facts: Mapping[str, str] = field(default_factory=dict)


class Rules(ABC):
    """How answers are scored.

    Attributes:
        name: as the command line names it.
        title: as the paper names it.
        facts: names of what `score` and `totals` use besides prediction and references.
        needs: those of them without which `score` cannot work.
        packages: that `score` imports, by name, with what pip installs them from.
        max_new_tokens: longest answer.
        total: key in `totals` of the number that the paper reports.
        graded: whether a score can lie between 0 and 1.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    facts: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[Mapping[str, str]] = {}
    max_new_tokens: ClassVar[int]
    total: ClassVar[str]
    graded: ClassVar[bool] = False

    @abstractmethod
    def score(
        self, prediction: str, references: Sequence[str], facts: Mapping[str, str], scorer: Scorer
    ) -> float:
        """Score of a stripped prediction, from 0 to 1."""

    def totals(self, samples: Sequence[Scored]) -> dict[str, float]:
        """Totals over all samples, by name; by default their mean under `total`."""
        return {self.total: mean(sample.score for sample in samples)}


class Benchmark(Rules):
    """A published benchmark under lmms-eval's rules.

    Attributes:
        repository: of the published data on the Hugging Face hub.
        files: pattern of its parquet files there.
        columns: of those files, as far as they are read.
        optional: those of them that may be missing.
    """

    repository: ClassVar[str]
    files: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def question(self, row: Mapping[str, Any], index: int) -> Question:
        """The question of a published row.

        Args:
            index: of the row among all rows, for an id where the data has none.

        Raises:
            InputError: a column is missing or of another type.
        """


def mean(scores: Any) -> float:
    """Mean of some numbers; 0 of none."""
    items = list(scores)
    return sum(items) / len(items) if items else 0.0


def means_by(samples: Sequence[Scored], fact: str) -> dict[str, float]:
    """Mean score of the samples of each value of a fact ("unknown" where it is missing)."""
    groups: dict[str, list[float]] = {}
    for sample in samples:
        groups.setdefault(sample.facts.get(fact, "unknown"), []).append(sample.score)
    return {value: mean(groups[value]) for value in sorted(groups)}


def text(row: Mapping[str, Any], column: str) -> str:
    """A text column of a row.

    Raises:
        InputError: it is missing or not text.
    """
    value = row.get(column)
    if not isinstance(value, str):
        raise InputError(f"{column!r} must be text, not {_kind(value)}")
    return value


def texts(row: Mapping[str, Any], column: str) -> tuple[str, ...]:
    """A column of one or several texts.

    Raises:
        InputError: it is missing, empty, or holds something else.
    """
    value = row.get(column)
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)) or not value:
        raise InputError(f"{column!r} must be a list of texts, not {_kind(value)}")
    if bad := [item for item in value if not isinstance(item, str)]:
        raise InputError(f"{column!r} must be a list of texts, it holds {_kind(bad[0])}")
    return tuple(value)


def identifier(row: Mapping[str, Any], column: str, index: int) -> str:
    """A row's id; its index where the column is missing or empty."""
    value = row.get(column)
    return str(value) if isinstance(value, (str, int)) and str(value) else str(index)


def image(row: Mapping[str, Any], column: str = "image") -> bytes:
    """An encoded picture, as `datasets` stores it in parquet: {"bytes": ..., "path": ...}.

    Raises:
        InputError: there is none.
    """
    value = row.get(column)
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(data, bytes) or not data:
        raise InputError(f"{column!r} has no picture")
    return data


def _kind(value: object) -> str:
    return "missing" if value is None else type(value).__name__
