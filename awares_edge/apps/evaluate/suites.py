"""`awares-edge evaluate` with an output folder: published benchmarks, own questions, synth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from awares_edge.apps.console import note, progress_bar, warn
from awares_edge.apps.evaluate.finished import print_results
from awares_edge.apps.options import ModelOptions
from awares_edge.controller.askable import Askable
from awares_edge.errors import InputError
from awares_edge.evaluation import plot
from awares_edge.evaluation.run.folder import ROWS, RowLog, locked, pin
from awares_edge.evaluation.run.identity import identity
from awares_edge.evaluation.run.results import draw, write_galleries, write_results
from awares_edge.evaluation.run.rows import read_rows
from awares_edge.evaluation.run.runner import check_mode, run_suite
from awares_edge.evaluation.scorers import Scorer
from awares_edge.evaluation.suites import Selection, Suite

_FORMAT = 1
_SHOWN = 20  # failed rows that are named on stderr


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Settings of a run, the same for every suite."""

    limit: int | None
    shard: str | None
    resume: bool
    workers: int
    scorer: Scorer
    picture: Path | None

    @property
    def selection(self) -> Selection:
        shard, shards = Selection.parse_shard("1/1" if self.shard is None else self.shard)
        return Selection(self.limit, shard, shards)


def run_suites(
    suites: list[Suite],
    modes: list[str],
    model_options: ModelOptions,
    root: Path,
    options: RunOptions,
    *,
    json: bool,
) -> None:
    """Ask every suite in every mode, write the results, and print them.

    Raises:
        InputError: the folder holds another run, or rows failed (after everything is written).
    """
    selection = options.selection
    for suite in suites:
        for mode in modes:
            check_mode(suite, mode)
    if options.picture:
        plot.check(options.picture)
    with locked(root):
        if not options.resume:
            _refuse_old_rows(root, suites, modes)
        with model_options.open() as model:
            who = identity(model, model_options.bundle)
            pin(root, {"format": _FORMAT, "model": who, "scorer": options.scorer})
            for suite in suites:
                for mode in modes:
                    _run(model, suite, mode, root / suite.name / mode, selection, options)
        summary, timing = write_results(root)
        print_results(summary, timing, json=json)
        if options.picture:
            draw(summary, options.picture)
        write_galleries(root, suites)
    if not json:
        note(f"results written to {root}")
    folders = [root / suite.name / mode for suite in suites for mode in modes]
    _report_failures(folders)


def _refuse_old_rows(root: Path, suites: list[Suite], modes: list[str]) -> None:
    for suite in suites:
        for mode in modes:
            if (root / suite.name / mode / ROWS).exists():
                raise InputError(
                    f"{root} has a run of {suite.name} {mode}: continue it (--resume), or "
                    "choose another folder (-o)"
                )


def _run(
    model: Askable,
    suite: Suite,
    mode: str,
    folder: Path,
    selection: Selection,
    options: RunOptions,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "suite": suite.name,
        "mode": mode,
        "data": suite.pins(),
        "rows": suite.count,
        "limit": selection.limit,
        "shard": f"{selection.shard}/{selection.shards}",
    }
    pin(folder, settings)
    what = f"{suite.name} {mode}"
    with RowLog(folder, selection) as log, progress_bar() as update:
        run_suite(
            model,
            suite,
            mode,
            log,
            selection,
            options.scorer,
            workers=options.workers,
            progress=lambda done, total: update(what, done, total),
        )


def _report_failures(folders: list[Path]) -> None:
    """Name the rows that failed; the first of many."""
    failed = 0
    for folder in folders:
        for row in read_rows(folder / ROWS):
            if row.status == "failed":
                failed += 1
                if failed <= _SHOWN:
                    warn(f"{folder}: row {row.index} ({row.id}): {row.reason}")
    if failed > _SHOWN:
        warn(f'and {failed - _SHOWN} more: see "failed" in {ROWS}')
    if failed:
        raise InputError(f"{failed} rows failed and are not part of the scores")
