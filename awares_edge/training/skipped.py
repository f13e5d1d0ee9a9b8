"""Rows that cannot be used: a run reports them, continues, and lists them when it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from awares_edge.errors import ImageError
from awares_edge.files import whole_file
from awares_edge.training.errors import TrainingError
from awares_edge.training.trajectories import Trajectory

T = TypeVar("T")
SKIPPED = "skipped.json"
"""File in a run's folder that counts and names the rows that were left out, with the reason."""


class Skipped:
    """Rows of a run that are left out; each is reported when it is met first.

    Attributes:
        report: called with one line, which names the row and the reason.
        reasons: those lines, in order.
    """

    def __init__(self, report: Callable[[str], None] = lambda _reason: None) -> None:
        self.report = report
        self.reasons: dict[str, None] = {}

    def add(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons[reason] = None
            self.report(reason)

    def save(self, path: Path) -> None:
        """List the rows in ``path``, and report how many they are."""
        save_skipped(self.reasons, path)
        if self.reasons:
            self.report(f"{len(self.reasons)} rows left out, listed in {path}")


def save_skipped(reasons: Collection[str], path: Path) -> None:
    """Write ``{"skipped": count, "rows": reasons}`` to ``path``; no file where there are none."""
    if not reasons:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as file:
        value = {"skipped": len(reasons), "rows": list(reasons)}
        file.write((json.dumps(value, indent=1) + "\n").encode())


@contextmanager
def listed(reasons: Collection[str], path: Path) -> Iterator[None]:
    """Write ``reasons`` to ``path`` when the block ends, whether it fails or not."""
    try:
        yield
    finally:
        save_skipped(reasons, path)


def readable(
    rows: Sequence[Trajectory], index: int, read: Callable[[Trajectory], T], skipped: Skipped
) -> tuple[Trajectory, T]:
    """The row at ``index`` and what ``read`` makes of it; the next one that can be read instead.

    A picture that was damaged or removed since the run began costs its row, not the run.

    Raises:
        TrainingError: no row can be read.
    """
    for step in range(len(rows)):
        row = rows[(index + step) % len(rows)]
        try:
            return row, read(row)
        except ImageError as error:
            skipped.add(f"{row.id}: {error}")
    raise TrainingError(
        "none of the trajectories' pictures can be read: restore them, then start again"
    )
