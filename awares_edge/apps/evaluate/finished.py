"""Results that exist already: printed, compared, merged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from awares_edge.apps.console import note, print_json, say
from awares_edge.apps.evaluate.tables import print_table
from awares_edge.errors import InputError
from awares_edge.evaluation.run.compare import Comparison, compare
from awares_edge.evaluation.run.folder import locked
from awares_edge.evaluation.run.merge import merge_shards
from awares_edge.evaluation.run.results import write_results


def print_results(summary: Mapping[str, Any], timing: Mapping[str, Any], *, json: bool) -> None:
    """The summary as one JSON object, or a table."""
    if json:
        print_json({**summary, "timing": timing["runs"]})
        return
    columns = (
        ("score", "score", 4),
        ("low", "low", 3),
        ("high", "high", 3),
        ("paper", "paper", 4),
        ("RTR", "rtr", 3),
        ("direct", "direct_share", 3),
        ("valid", "valid_calls", 3),
        ("rows", "questions", 0),
        ("failed", "failed", 0),
        ("ms", "ms_p50", 1),
    )
    rows = []
    for run, times in zip(summary["runs"], timing["runs"], strict=True):
        low, high = run["score_ci"] or (None, None)
        paper = None if run["paper"] is None else run["paper"] / 100
        rows.append({**run, "low": low, "high": high, "paper": paper, "ms_p50": times["ms_p50"]})
    print_table(["", "mode"], [[row["suite"], row["mode"]] for row in rows], columns, rows)
    for mode, mean in summary["means"].items():
        if len(mean["benchmarks"]) > 1:
            count = len(mean["benchmarks"])
            say(f"mean of {count}, {mode}: {mean['score']:.4f} at RTR {mean['rtr']:.3f}")


def compare_folders(first: Path, second: Path, *, json: bool) -> None:
    """Print how two folders of results differ."""
    found = compare(first, second)
    if json:
        print_json([comparison.to_dict() for comparison in found])
        return
    for comparison in found:
        _print_comparison(comparison)


def _print_comparison(c: Comparison) -> None:
    modes = c.first_mode if c.first_mode == c.second_mode else f"{c.first_mode}, {c.second_mode}"
    say(f"{c.suite} ({modes}), {c.questions:,} questions, {c.left_out} left out", style="bold")
    interval = "" if c.difference_ci is None else "  [{:+.4f}, {:+.4f}]".format(*c.difference_ci)
    say(f"  {c.first:.4f} → {c.second:.4f}  {c.difference:+.4f}{interval}")
    say(f"  right only in the first {c.only_first}, only in the second {c.only_second}")
    say(f"  McNemar p = {c.p:.3g}")


def merge_folders(shards: list[Path], output: Path | None, *, json: bool) -> None:
    """Make one folder of the results of all shards."""
    if output is None:
        raise InputError("--merge needs a new folder for the results: give -o")
    with locked(output):
        merge_shards(shards, output)
        summary, timing = write_results(output)
    print_results(summary, timing, json=json)
    if not json:
        note(f"results written to {output}")
