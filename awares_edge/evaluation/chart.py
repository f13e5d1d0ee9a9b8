"""Charts as inline SVG, in the colours of `page`. Sizes are in a viewBox; CSS scales them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from awares_edge.evaluation.page import Raw, text

_WIDTH = 720
_MARGIN = 8


def stacked_bars(
    rows: Sequence[tuple[str, Sequence[float]]], unit: str, labels: Sequence[str]
) -> Raw:
    """One horizontal bar a row, its parts one after the other.

    Args:
        rows: a name, and its parts in `unit`, none of them negative.
        labels: name of each part, for the tooltip.
    """
    widest = max((sum(parts) for _, parts in rows), default=0.0) or 1.0
    # The name is above its bar, so that long names need no separate column.
    step, height = 44, 18
    room = _WIDTH - 2 * _MARGIN - 96
    parts_of = []
    for index, (name, parts) in enumerate(rows):
        top = index * step
        parts_of.append(f'<text x="{_MARGIN}" y="{top + 14}">{text(name)}</text>')
        x = float(_MARGIN)
        for at, value in enumerate(parts):
            width = value / widest * room
            title = f"<title>{text(labels[at])}: {value:.4g} {text(unit)}</title>"
            parts_of.append(
                f'<rect x="{x:.2f}" y="{top + 20}" width="{width:.2f}" height="{height}" '
                f'fill="var(--c{at % 8})">{title}</rect>'
            )
            x += width
        total = f"{sum(parts):.4g} {text(unit)}"
        parts_of.append(f'<text class="q" x="{x + 6:.2f}" y="{top + 33}">{total}</text>')
    return _svg(len(rows) * step, parts_of, "bars by row")


def log_bars(rows: Sequence[tuple[str, float]], unit: str) -> Raw:
    """One horizontal bar a row on a logarithmic axis, for values that differ by powers of ten."""
    positive = [value for _, value in rows if value > 0]
    low = math.floor(math.log10(min(positive))) if positive else -1
    high = math.ceil(math.log10(max(positive))) if positive else 0
    high = max(high, low + 1)
    left, step = 150, 30
    room = _WIDTH - left - 96
    bottom = len(rows) * step + 4
    parts: list[str] = []
    # At most ten lines, however many powers of ten there are.
    for power in range(low, high + 1, max(1, math.ceil((high - low) / 10))):
        x = left + (power - low) / (high - low) * room
        parts.append(f'<line class="l" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom}"/>')
        parts.append(
            f'<text class="q" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{10.0**power:g}'
            "</text>"
        )
    for index, (name, value) in enumerate(rows):
        y = index * step
        parts.append(f'<text x="{_MARGIN}" y="{y + 19}">{text(name)}</text>')
        share = (math.log10(value) - low) / (high - low) if value > 0 else 0.0
        parts.append(
            f'<rect x="{left}" y="{y + 6}" width="{max(share * room, 1):.2f}" height="18" '
            'fill="var(--c1)"/>'
        )
        label = f"{value:.2g} {unit}".strip()
        at = left + share * room + 6
        parts.append(f'<text class="q" x="{at:.2f}" y="{y + 19}">{text(label)}</text>')
    return _svg(bottom + 24, parts, "bars on a logarithmic axis")


def lines(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]], x_unit: str, y_unit: str
) -> Raw:
    """Points joined by lines, one line a series; both axes begin at zero."""
    points = [point for _, values in series for point in values]
    right = max((x for x, _ in points), default=0.0) or 1.0
    top = (max((y for _, y in points), default=0.0) or 1.0) * 1.05
    left, height, base = 64, 220, 190
    room = _WIDTH - left - 2 * _MARGIN
    parts: list[str] = []
    for value in _ticks(top):
        y = base - value / top * (base - 10)
        parts.append(f'<line class="l" x1="{left}" x2="{left + room}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="q" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in _ticks(right):
        x = left + value / right * room
        parts.append(
            f'<text class="q" x="{x:.1f}" y="{base + 18}" text-anchor="middle">{value:g}</text>'
        )
    for index, (name, values) in enumerate(series):
        joined = " ".join(
            f"{left + x / right * room:.1f},{base - y / top * (base - 10):.1f}" for x, y in values
        )
        parts.append(
            f'<polyline points="{joined}" fill="none" stroke="var(--c{index % 8})" '
            f'stroke-width="2"><title>{text(name)}</title></polyline>'
        )
    parts.append(f'<text class="q" x="{left}" y="{height + 6}">{text(x_unit)}</text>')
    parts.append(f'<text class="q" x="{_MARGIN}" y="{height + 6}">{text(y_unit)}</text>')
    return _svg(height + 14, parts, "lines")


def _ticks(end: float) -> list[float]:
    """From zero to `end` in three to six steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(end / 3))
    step = next(power * n for n in (5, 2, 1) if end / (power * n) >= 3)
    return [round(at * step, 12) for at in range(int(end / step + 1e-9) + 1)]


def _svg(height: float, parts: Sequence[str], label: str) -> Raw:
    return Raw(
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{text(label)}">'
        + "".join(parts)
        + "</svg>"
    )
