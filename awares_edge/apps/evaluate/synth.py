"""`awares-edge evaluate synth` without an output folder: measured in memory, printed."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from awares_edge.apps.console import note, print_json, printable, progress_bar, say, warn
from awares_edge.apps.evaluate.options import SynthOptions
from awares_edge.apps.evaluate.tables import print_table
from awares_edge.apps.options import ModelOptions
from awares_edge.evaluation import plot
from awares_edge.evaluation.report import Report
from awares_edge.evaluation.synthetic import evaluate
from awares_edge.files import check_output, whole_file


def run_synth(
    options: ModelOptions,
    modes: list[str],
    drawn: SynthOptions,
    save: Path | None,
    picture: Path | None,
    *,
    json: bool,
) -> None:
    """Ask the synthetic suite's questions and report accuracy, tokens, calls and latency."""
    # Checked now rather than after the last question.
    if picture:
        plot.check(picture)
    if save:
        check_output(save)
    reports = _measure(options, modes, drawn)
    results = [report.to_dict() for report in reports]
    # A file that fails must not cost the printed results.
    _print(results, json)
    if save:
        _save(reports, save)
    if picture:
        plot.draw(results, picture, _title(options, drawn, results))
    if not json:
        for what, path in (("outcomes", save), ("picture", picture)):
            if path:
                note(f"{what} written to {path}")


def _measure(options: ModelOptions, modes: list[str], drawn: SynthOptions) -> list[Report]:
    reports: list[Report] = []
    with options.open() as model:
        for name in modes:
            with progress_bar() as update:
                report = evaluate(
                    model,
                    name,
                    split=drawn.split,
                    seed=drawn.seed,
                    limit=drawn.limit,
                    families=drawn.families,
                    control=drawn.control,
                    view=drawn.view,
                    progress=lambda done, total, name=name: update(name, done, total),  # type: ignore[misc]
                )
            for reason in report.skipped:
                warn(f"{name}: picture skipped: {reason}")
            for reason, count in report.refusals.items():
                warn(f"{name}: {count} questions not asked: {reason}")
            reports.append(report)
    return reports


def _save(reports: list[Report], path: Path) -> None:
    with whole_file(path) as file:
        for report in reports:
            for outcome in report.outcomes:
                row = {"mode": report.mode, **asdict(outcome)}
                file.write(jsonlib.dumps(row).encode() + b"\n")


def _title(options: ModelOptions, drawn: SynthOptions, results: list[dict[str, Any]]) -> str:
    """Of the picture: the model, the split, the number of questions, and what was restricted."""
    parts = [f"{drawn.split} split"]
    if drawn.families:
        parts.append(" and ".join(drawn.families))
    if drawn.control != "right":
        parts.append(f"{drawn.control} pictures")
    if drawn.view:
        parts.append(f"{drawn.view.level} captures" + ("" if drawn.view.rectify else ", as seen"))
    name = printable(options.bundle.resolve().name) if options.bundle else "embedded nano model"
    if options.endpoint:
        name = printable(options.model or options.endpoint)
    return f"{name}: synthetic suite, {', '.join(parts)}, {results[0]['questions']:,} questions"


def _print(results: list[dict[str, Any]], json: bool) -> None:
    if json:
        print_json(results[0] if len(results) == 1 else results)
        return
    columns = (
        ("right", "accuracy", 3),
        ("RTR", "rtr", 3),
        ("direct", "direct_share", 3),
        ("small", "accuracy_needs_zoom", 3),
        ("other", "accuracy_other", 3),
        ("recall", "call_recall", 3),
        ("prec.", "call_precision", 3),
        ("crop", "right_crop", 3),
        ("valid", "valid_calls", 3),
        ("ms", "ms_p50", 1),
    )
    print_table(["mode"], [[result["mode"]] for result in results], columns, results)
    if len(results) == 1:
        _print_kinds(results[0])


def _print_kinds(result: dict[str, Any]) -> None:
    for kind, row in result["by_kind"].items():
        text = f"  {kind:24} {row['accuracy']:.3f}  zoomed {row['zoomed']:.2f}"
        say(f"{text}  of {row['questions']}")
