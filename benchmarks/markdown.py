"""Tables for documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(titles: str, rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; ``titles`` separated by bars, floats with three digits, None left blank."""
    width = titles.count("|") + 1
    lines = [f"| {titles} |", "|" + "---|" * width]
    for row in rows:
        lines.append("| " + " | ".join(map(_cell, row)) + " |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
