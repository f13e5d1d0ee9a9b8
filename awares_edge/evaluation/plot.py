"""A plot of accuracy against RTR (share of visual tokens spent), one point a mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from textwrap import fill
from typing import Any

from awares_edge.errors import InputError
from awares_edge.evaluation.intervals import wilson
from awares_edge.extras import require
from awares_edge.files import check_output, whole_file

FORMATS = ("png", "svg", "pdf")

_INK, _QUIET = "#1c2733", "#5b6875"
_HIGHLIGHT, _ACCENT = "awares", "#c2410c"
# A point and its label share a colour, so that crowded points can be distinguished.
_COLOURS = ("#1f4e79", "#2e6b34", "#6a3d9a", "#7a4a1e", "#0f6e6e", "#8c1d5a", "#4a4a4a")
# Where a label may stand: points away from its point, and the directions tried in this order.
_DISTANCES = (9, 20, 34, 50, 70)
_DIRECTIONS = ((1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1))
_LEADER_FROM = 20


def check(path: Path) -> None:
    """Check that a picture can be written to ``path`` later.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
        InputError: the name has no ending that can be drawn, or cannot be written.
    """
    require("a picture", {"matplotlib": "matplotlib>=3.9"})
    if path.suffix[1:].lower() not in FORMATS:
        raise InputError(f"cannot draw {path}: end its name with .{', .'.join(FORMATS)}")
    check_output(path)


def draw(results: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw one labelled point per result to ``path`` (PNG, SVG or PDF); no partial file is left.

    ``results`` are what ``evaluate synth --json`` prints; of each, "mode" (its label),
    "accuracy", "rtr" and "questions" are read. Bars are 95% intervals of accuracy: "interval"
    (low, high), or Wilson's where there is none.

    Raises:
        RuntimeUnavailable: matplotlib is not installed.
        InputError: `check` refuses the path, there are no results, or writing fails.
    """
    check(path)
    if not results:
        raise InputError("nothing to draw: give at least one result")
    points = [_point(result, colour) for result, colour in zip(results, cycle(_COLOURS))]

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.2), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    _frame(axes, points, title)
    for point in points:
        axes.errorbar(
            point.x, point.y, yerr=([point.y - point.low], [point.high - point.y]),
            fmt="o", ms=7, color=point.colour, mec="white", mew=0.8,
            elinewidth=1.2, capsize=3, clip_on=False, zorder=4 if point.label == _HIGHLIGHT else 3,
        )  # fmt: skip
    canvas.draw()  # Labels can be measured only once the layout is done.
    figure.set_layout_engine("none")
    _place_labels(axes, canvas.get_renderer(), points)
    _save(figure, path)


@dataclass(frozen=True)
class _Point:
    label: str
    x: float
    y: float
    low: float
    high: float
    colour: str


def _point(result: Mapping[str, Any], colour: str) -> _Point:
    accuracy = float(result["accuracy"])
    low, high = result.get("interval") or wilson(accuracy, int(result["questions"]))
    label = str(result["mode"])
    if label == _HIGHLIGHT:
        colour = _ACCENT
    return _Point(label, float(result["rtr"]), 100 * accuracy, 100 * low, 100 * high, colour)


def _frame(axes: Any, points: Sequence[_Point], title: str) -> None:
    lowest, highest = min(p.low for p in points), max(p.high for p in points)
    margin = max(4.0, 0.08 * (highest - lowest))
    axes.set_xlim(0, 1.1 * max(1.0, *(p.x for p in points)))
    axes.set_ylim(max(-2.0, lowest - margin), min(105.0, highest + margin))
    axes.set_xlabel("RTR (visual tokens, as a share of the full-resolution picture's)")
    axes.set_ylabel("accuracy, % (bars: 95% interval)")
    axes.set_title(fill(title, 88), loc="left", fontsize=11, color=_INK, parse_math=False)
    axes.grid(color="#d8dde3", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_QUIET)
    axes.tick_params(color=_QUIET, labelcolor=_QUIET)


def _place_labels(axes: Any, renderer: Any, points: Sequence[_Point]) -> None:
    """Each label at the nearest place where it covers no point, bar or other label."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    pixel = axes.figure.dpi / 72
    taken = []
    for p in points:
        (x, y), (_, low), (_, high) = axes.transData.transform(
            [(p.x, p.y), (p.x, p.low), (p.x, p.high)]
        )
        taken.append(Bbox.from_extents(x - 6 * pixel, y - 6 * pixel, x + 6 * pixel, y + 6 * pixel))
        taken.append(Bbox.from_extents(x - 4 * pixel, low, x + 4 * pixel, high))
    inside = axes.get_window_extent(renderer)
    for p in sorted(points, key=lambda p: (-p.x, p.y)):
        best: tuple[float, Any, Any] | None = None
        for distance, (right, up) in product(_DISTANCES, _DIRECTIONS):
            text = _annotate(axes, p, distance, right, up)
            text.update_positions(renderer)
            # The text's own extent: an annotation's includes its leader line.
            box = Text.get_window_extent(text, renderer).padded(1.5 * pixel)
            cost = sum(_overlap(box, other) for other in taken) + _outside(box, inside)
            if best is not None and cost >= best[0]:
                text.remove()
                continue
            if best is not None:
                best[1].remove()
            best = cost, text, box
            if cost == 0:
                break
        assert best is not None
        taken.append(best[2])


def _annotate(axes: Any, point: _Point, distance: int, right: int, up: int) -> Any:
    reach = distance * (0.75 if right and up else 1.0)
    leader = {"arrowstyle": "-", "color": point.colour, "lw": 0.6, "shrinkB": 5}
    return axes.annotate(
        point.label, (point.x, point.y), (right * reach, up * reach),
        textcoords="offset points", fontsize=9.5, color=point.colour,
        ha=("center", "left", "right")[right], va=("center", "bottom", "top")[up],
        fontweight="bold" if point.label == _HIGHLIGHT else "normal", parse_math=False, zorder=5,
        arrowprops=leader if distance >= _LEADER_FROM else None,
    )  # fmt: skip


def _overlap(a: Any, b: Any) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(width * height) if width > 0 and height > 0 else 0.0


def _outside(box: Any, frame: Any) -> float:
    return float(box.width * box.height) - _overlap(box, frame)


def _save(figure: Any, path: Path) -> None:
    try:
        with whole_file(path) as file:
            figure.savefig(file, format=path.suffix[1:].lower())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
