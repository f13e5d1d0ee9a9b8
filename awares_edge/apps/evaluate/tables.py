"""Tables of numbers that are never cut: not rich's table, which takes digits away to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from awares_edge.apps.console import printable, say


def print_table(
    titles: Sequence[str],
    names: Sequence[Sequence[str]],
    columns: Sequence[tuple[str, str, int]],
    results: Sequence[Mapping[str, Any]],
) -> None:
    """Print a heading, and a line for each result.

    Args:
        titles: of the first columns, which are text.
        names: those texts, for each result.
        columns: (title, key in the results, decimals) of the others.
    """
    rows = [[*titles, *(title for title, _, _ in columns)]]
    for text, result in zip(names, results, strict=True):
        numbers = (_cell(result[key], decimals) for _, key, decimals in columns)
        rows.append([*map(printable, text), *numbers])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if i < len(titles) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say(" ".join(cells).rstrip(), style="bold" if row is rows[0] else None)


def _cell(value: float | None, decimals: int) -> str:
    """Blank where there was nothing to take a share of."""
    return "" if value is None else f"{value:.{decimals}f}"
