"""Tables for documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(titles: str, rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; ``titles`` separated by bars, floats with three digits."""
    width = titles.count("|") + 1
    lines = [f"| {titles} |", "|" + "---|" * width]
    for row in rows:
        cells = [f"{x:.3f}" if isinstance(x, float) else str(x) for x in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
