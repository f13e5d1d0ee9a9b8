"""What a finished run writes next to its rows: summary, tables, a plot and galleries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from awares_edge.evaluation import plot
from awares_edge.evaluation.run.folder import runs
from awares_edge.evaluation.run.gallery import write_gallery
from awares_edge.evaluation.run.markdown import to_markdown
from awares_edge.evaluation.run.summary import summarise
from awares_edge.evaluation.suites.base import Suite
from awares_edge.extras import missing
from awares_edge.files import whole_file


def write_results(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write `summary.json`, `summary.md`, `timing.json`, and `accuracy-rtr.png` with matplotlib.

    `summary.json` and `summary.md` follow only from the rows, times left out: the same answers
    give the same bytes.

    Returns:
        the summary and the timing.

    Raises:
        InputError: rows cannot be read.
        OSError: a file cannot be written.
    """
    summary, timing = summarise(root)
    for name, value in (("summary.json", summary), ("timing.json", timing)):
        with whole_file(root / name) as file:
            file.write(json.dumps(value, indent=2).encode() + b"\n")
    with whole_file(root / "summary.md") as file:
        file.write(to_markdown(summary).encode("utf-8"))
    if not missing(["matplotlib"]):
        draw(summary, root / "accuracy-rtr.png")
    return summary, timing


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Accuracy against RTR, a point a mode: of the one suite, or the mean of the benchmarks.

    Nothing is drawn where no question was answered.
    """
    suites = {run["suite"] for run in summary["runs"]}
    title = f"{summary['model']['name']}: "
    if len(suites) == 1:
        results = [run for run in summary["runs"] if run["score"] is not None]
        title += f"{next(iter(suites))}"
    else:
        results = [{"mode": mode, **mean} for mode, mean in summary["means"].items()]
        title += "mean of " + ", ".join(sorted({b for r in results for b in r["benchmarks"]}))
    points = [
        {
            "mode": result["mode"],
            "accuracy": result["score"],
            "rtr": result["rtr"],
            "interval": result["score_ci"] or [result["score"]] * 2,
        }
        for result in results
    ]
    if points:
        plot.draw(points, path, title)


def write_galleries(root: Path, suites: Iterable[Suite]) -> list[Path]:
    """A page of hits and misses in the folder of each run of these suites; their paths."""
    by_name = {suite.name: suite for suite in suites}
    pages = []
    for (name, mode), folder in runs(root).items():
        if name in by_name:
            pages.append(folder / "gallery.html")
            write_gallery(by_name[name], folder, pages[-1], f"{name}, {mode}")
    return pages
