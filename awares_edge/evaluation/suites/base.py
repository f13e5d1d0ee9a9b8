"""What a suite is: questions in a fixed order, their rules, and which of them to ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks.base import Rules
from awares_edge.evaluation.question import BadQuestion, Question
from awares_edge.vision.load import load_image


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a suite to read, by index from 0.

    Attributes:
        limit: most rows, from the first one on; None for all.
        shard: from 1; rows are dealt out in turn.
        shards: how many there are.
        after: the last row that has been read already; -1 for none.
        only: only these rows; None for all.
    """

    limit: int | None = None
    shard: int = 1
    shards: int = 1
    after: int = -1
    only: frozenset[int] | None = None

    @classmethod
    def parse_shard(cls, text: str) -> tuple[int, int]:
        """(shard, shards) of "2/4".

        Raises:
            InputError: not of that form, or out of range.
        """
        first, slash, second = text.partition("/")
        numbers = [int(n) for n in (first, second) if n.isascii() and n.isdecimal() and len(n) < 7]
        if not slash or len(numbers) < 2 or not 1 <= numbers[0] <= numbers[1]:
            raise InputError(f"shard {text!r} must have the form 1/4: part 1 of 4")
        return numbers[0], numbers[1]

    def wants(self, index: int) -> bool:
        """Whether to read this row."""
        if index <= self.after or index % self.shards != self.shard - 1:
            return False
        return not self.ended(index) and (self.only is None or index in self.only)

    def wants_any(self, rows: range) -> bool:
        """Whether to read any of these rows."""
        return any(self.wants(index) for index in rows)

    def ended(self, index: int) -> bool:
        """Whether no row from here on is wanted."""
        if self.only is not None and index > max(self.only, default=-1):
            return True
        return self.limit is not None and index >= self.limit

    def nth(self, n: int) -> int:
        """Index of the n-th row of this shard, from 0."""
        return self.shard - 1 + n * self.shards

    def size(self, count: int) -> int:
        """How many of ``count`` rows this shard has, read ones included."""
        count = count if self.limit is None else min(count, self.limit)
        return len(range(self.shard - 1, count, self.shards))


class Suite(ABC):
    """Questions in a fixed order. Rows have an index, which never changes.

    Attributes:
        rules: how answers are scored.
        count: number of rows, bad ones included.
    """

    rules: Rules
    count: int

    @property
    def name(self) -> str:
        """Name of the suite, and of its folder among results."""
        return self.rules.name

    @abstractmethod
    def read(self, selection: Selection) -> Iterator[tuple[int, Question | BadQuestion]]:
        """The wanted rows in order, each with its index; only a few are in memory at a time."""

    @abstractmethod
    def pins(self) -> dict[str, Any]:
        """What identifies the data, as JSON: a run can be resumed only over the same."""

    def decode(self, question: Question) -> Image.Image:
        """The upright RGB picture of a question.

        Raises:
            ImageError: it cannot be used.
        """
        return load_image(question.image)

    def evidence(self, question: Question) -> tuple[str, ...] | None:  # noqa: ARG002
        """Ids of the crops that hold the answer, () for none; None where it is not known."""
        return None
