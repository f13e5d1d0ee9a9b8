"""What the `calibrate` commands share: their options, their inputs and the model they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import numpy as np
import typer

from awares_edge.api import load
from awares_edge.apps.console import note, progress_bar, verify_progress
from awares_edge.bundle.store import Bundle
from awares_edge.calibration.questions import (
    CalibrationQuestion,
    held_out_questions,
    read_questions,
)
from awares_edge.calibration.stored import check_storable
from awares_edge.spec import MANIFEST_NAME

T = TypeVar("T")

BundleArgument: TypeAlias = Annotated[Path, typer.Argument(help="Bundle folder.")]
QuestionsArgument: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        help="Questions, one JSON object a line, as much like yours as possible. Default: the "
        "validation split of the synthetic suite."
    ),
]
LimitOption: TypeAlias = Annotated[int, typer.Option(min=1, help="Most questions to ask.")]
SeedOption: TypeAlias = Annotated[
    int, typer.Option(min=0, help="Seed of the questions, or of which of the file's are taken.")
]
ApplyOption: TypeAlias = Annotated[
    bool, typer.Option("--apply/--dry-run", help="Whether to store the result in the bundle.")
]


def open_inputs(
    bundle: Path, questions: Path | None, limit: int, seed: int, apply: bool
) -> tuple[Bundle, list[CalibrationQuestion]]:
    """The verified bundle and the questions to ask it.

    Raises:
        BundleError: the bundle cannot be used.
        InputError: the questions cannot be read, or the result could not be stored.
    """
    with verify_progress() as progress:
        opened = Bundle.open(bundle, progress=progress)
    if apply:
        check_storable(opened)
    if questions is None:
        return opened, held_out_questions(limit, seed)
    found = read_questions(questions)
    if len(found) > limit:
        chosen = np.random.default_rng(seed).choice(len(found), limit, replace=False)
        found = [found[i] for i in sorted(chosen)]
    return opened, found


def run_model(
    what: str,
    opened: Bundle,
    total: int,
    device: str | None,
    threads: int | None,
    work: Callable[..., list[T]],
) -> list[T]:
    """Load the bundle and give the model to `work`, under a progress bar."""
    with (
        load(opened.root, device=device, threads=threads, verify=False) as model,
        progress_bar() as update,
    ):
        return work(model=model, progress=lambda done: update(what, done, total))


def say_applied(bundle: Path, apply: bool) -> None:
    """Say on stderr whether the bundle was changed."""
    note(f"stored in {bundle / MANIFEST_NAME}" if apply else "dry run: the bundle is unchanged")


def number(value: float | None, decimals: int) -> str:
    """A table cell; empty for None."""
    return "" if value is None else f"{value:.{decimals}f}"
