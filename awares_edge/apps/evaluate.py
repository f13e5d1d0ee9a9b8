"""`awares-edge evaluate`: measure a model on data whose answers are known."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from awares_edge.apps.console import note, print_json, printable, progress_bar, say, warn
from awares_edge.apps.options import (
    BundleOption,
    DeviceOption,
    JsonOption,
    ProtocolOption,
    RuntimeOption,
    ThreadsOption,
    load_model,
)
from awares_edge.errors import InputError
from awares_edge.evaluation import plot
from awares_edge.evaluation.report import Report
from awares_edge.evaluation.synthetic import EXTRA_MODES, MODES, check_mode, evaluate
from awares_edge.files import check_output, whole_file
from awares_edge.synth.generate import FAMILIES, HELD_BACK

app = typer.Typer(
    name="evaluate", help="Measure a model on data whose answers are known.", no_args_is_help=True
)


class SplitName(str, Enum):
    """Names for `--split`."""

    train = "train"
    validation = "validation"
    test = "test"


class ControlName(str, Enum):
    """Names for `--control`."""

    right = "right"
    blank = "blank"
    other = "other"


@app.callback()
def _group() -> None:
    """Keep `synth` a command of its own while it is the only one."""


@app.command("synth")
def synth(
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help=f"One of {', '.join((*MODES, *EXTRA_MODES))}; may be repeated. Default: awares. "
            "prune:R keeps the share R of the whole picture's visual tokens (torch runtime)."
        ),
    ] = None,
    all_modes: Annotated[
        bool, typer.Option("--all-modes", help=f"{', '.join(MODES)}, in one table.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the questions.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Number of questions.")] = 2000,
    split: Annotated[SplitName, typer.Option(help="Split to draw from.")] = SplitName.test,
    family: Annotated[
        list[str] | None,
        typer.Option(help="Only these families; held-back ones too. Default: the trained ones."),
    ] = None,
    control: Annotated[
        ControlName,
        typer.Option(help="Show a blank or another picture instead, to see what guessing gives."),
    ] = ControlName.right,
    protocol: ProtocolOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    save: Annotated[
        Path | None, typer.Option(help="Write every question's outcome to this JSONL file.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw accuracy against RTR to this file (.png, .svg, .pdf)."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Ask the synthetic suite's questions and report accuracy, tokens, calls and latency."""
    modes = _modes(mode, all_modes)
    families = tuple(family or ())
    for name in families:
        if name not in FAMILIES and name not in HELD_BACK:
            known = ", ".join([*FAMILIES, *HELD_BACK])
            raise InputError(f"no family {name!r}: choose from {known}")
    # Found out now rather than after the last question.
    if picture:
        plot.check(picture)
    if save:
        check_output(save)
    reports: list[Report] = []
    with load_model(bundle, runtime, protocol, device, threads, None) as model:
        for name in modes:
            with progress_bar() as update:
                report = evaluate(
                    model,
                    name,
                    split=split.value,
                    seed=seed,
                    limit=limit,
                    families=families,
                    control=control.value,
                    progress=lambda done, total, name=name: update(name, done, total),  # type: ignore[misc]
                )
            for reason in report.skipped:
                warn(f"{name}: picture skipped: {reason}")
            reports.append(report)
    results = [report.to_dict() for report in reports]
    # A file that fails must not cost the printed results.
    _print(results, json)
    if save:
        _save(reports, save)
    if picture:
        plot.draw(results, picture, _title(bundle, split, families, control, results))
    if not json:
        for what, path in (("outcomes", save), ("picture", picture)):
            if path:
                note(f"{what} written to {path}")


def _save(reports: list[Report], path: Path) -> None:
    with whole_file(path) as file:
        for report in reports:
            for outcome in report.outcomes:
                row = {"mode": report.mode, **asdict(outcome)}
                file.write(jsonlib.dumps(row).encode() + b"\n")


def _title(
    bundle: Path | None,
    split: SplitName,
    families: tuple[str, ...],
    control: ControlName,
    results: list[dict[str, Any]],
) -> str:
    """Of the picture: the model, the split, the number of questions, and what was restricted."""
    parts = [f"{split.value} split"]
    if families:
        parts.append(" and ".join(families))
    if control is not ControlName.right:
        parts.append(f"{control.value} pictures")
    name = printable(bundle.resolve().name) if bundle else "embedded nano model"
    return f"{name}: synthetic suite, {', '.join(parts)}, {results[0]['questions']:,} questions"


def _modes(mode: list[str] | None, all_modes: bool) -> list[str]:
    if all_modes:
        if mode:
            raise InputError("--all-modes measures every mode: leave --mode out")
        return list(MODES)
    chosen = mode or ["awares"]
    for name in chosen:
        check_mode(name)
    return chosen


def _print(results: list[dict[str, Any]], json: bool) -> None:
    if json:
        print_json(results[0] if len(results) == 1 else results)
        return
    _print_table(results)
    if len(results) == 1:
        _print_kinds(results[0])


def _print_table(results: list[dict[str, Any]]) -> None:
    """Under 80 columns, and never cut: not rich's table, which takes digits away to fit."""
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
    rows = [["mode", *(title for title, _, _ in columns)]]
    for result in results:
        cells = (_cell(result[key], decimals) for _, key, decimals in columns)
        rows.append([result["mode"], *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        line = " ".join([row[0].ljust(widths[0]), *cells])
        say(line, style="bold" if row is rows[0] else None)


def _cell(value: float | None, decimals: int) -> str:
    """Blank where there was nothing to take a share of."""
    return "" if value is None else f"{value:.{decimals}f}"


def _print_kinds(result: dict[str, Any]) -> None:
    for kind, row in result["by_kind"].items():
        text = f"  {kind:24} {row['accuracy']:.3f}  zoomed {row['zoomed']:.2f}"
        say(f"{text}  of {row['questions']}")
