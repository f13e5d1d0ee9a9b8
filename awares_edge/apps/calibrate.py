"""`awares-edge calibrate`: fit what quantization may have moved, on a bundle's own replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import numpy as np
import typer

from awares_edge.api import load
from awares_edge.apps.console import note, print_json, progress_bar, say, verify_progress, warn
from awares_edge.apps.options import DeviceOption, JsonOption, ThreadsOption
from awares_edge.bundle.store import Bundle
from awares_edge.calibration.confidence import (
    LEAST_ANSWERS,
    LEAST_OF_EACH,
    KindReport,
    ask_all,
    report_kinds,
)
from awares_edge.calibration.decisions import (
    Decisions,
    Goal,
    check_enough,
    check_goal,
)
from awares_edge.calibration.outcomes import measure
from awares_edge.calibration.questions import (
    CalibrationQuestion,
    held_out_questions,
    read_questions,
)
from awares_edge.calibration.reference import Reference, ask_reference
from awares_edge.calibration.stored import check_storable, store
from awares_edge.errors import InputError
from awares_edge.files import check_output
from awares_edge.protocol.calibration import NOT_CALIBRATED, AnswerKind
from awares_edge.spec import MANIFEST_NAME

T = TypeVar("T")

app = typer.Typer(
    name="calibrate",
    help="Fit when a bundle zooms, and how far its answers are to be trusted.",
    no_args_is_help=True,
)

DECISIONS_EPILOG = """
Examples:

    awares-edge calibrate decisions my-int4-bundle --reference ./my-checkpoint

    awares-edge calibrate decisions my-bundle questions.jsonl --target-rtr 0.33

    awares-edge calibrate decisions my-bundle --deadline-ms 900 --dry-run

A line of the file: `{"image": "a.png", "question": "What ...?", "answer": "42"}`. Without "answer"
no accuracy is shown.
"""
CONFIDENCE_EPILOG = """
Examples:

    awares-edge calibrate confidence my-bundle questions.jsonl

    awares-edge ask photo.jpg "What does it say?" --bundle my-bundle --abstain-below 0.9

A line of the file: `{"image": "a.png", "question": "What ...?", "answer": "42"}`.
"""

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


@app.command("decisions", epilog=DECISIONS_EPILOG)
def decisions(
    bundle: BundleArgument,
    data: QuestionsArgument = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Call as often as this one: a checkpoint, a bundle, or a file of --save-reference."
        ),
    ] = None,
    target_rtr: Annotated[
        float | None, typer.Option(help="Spend this share of the visual tokens on average.")
    ] = None,
    deadline_ms: Annotated[
        float | None, typer.Option(help="Milliseconds that 9 of 10 questions may take at most.")
    ] = None,
    save_reference: Annotated[
        Path | None,
        typer.Option(help="Write the reference's decisions to this file, to use elsewhere."),
    ] = None,
    limit: LimitOption = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    apply: ApplyOption = True,
    json: JsonOption = False,
) -> None:
    """Fit the bias on the decision to zoom: to a reference, to visual tokens, or to a deadline."""
    if sum(goal is not None for goal in (reference, target_rtr, deadline_ms)) != 1:
        raise InputError("give one of --reference, --target-rtr and --deadline-ms")
    check_goal(target_rtr, "--target-rtr")
    check_goal(deadline_ms, "--deadline-ms")
    if save_reference and reference is None:
        raise InputError("--save-reference needs --reference")
    if save_reference:
        check_output(save_reference)
    opened, questions = _open(bundle, data, limit, seed, apply)
    check_enough(len(questions))
    # Asked first: a reference of another model is refused at once.
    saved = _ask_reference(reference, opened, questions, device, threads) if reference else None
    if saved and save_reference:
        saved.save(save_reference)
    ask = partial(measure, questions)
    measured = _run("asking both ways", opened, len(questions), device, threads, ask)
    found = Decisions([one for one in measured if one])
    rate = saved.call_rate([one is not None for one in measured]) if saved else None
    goal = Goal(rate, target_rtr, deadline_ms)
    bias, stored = goal.fit(found), opened.manifest.calibration or NOT_CALIBRATED
    if apply:
        store(opened, decision_bias=bias, decision_goal=str(goal), decision_questions=len(found))
    if json:
        undecided = len(measured) - len(found)
        print_json(
            {
                **_decisions(found, goal, stored.decision_bias, bias),
                "undecided": undecided,
                "applied": apply,
            }
        )
        return
    _print_decisions(found, goal, stored.decision_bias, bias)
    _say_applied(bundle, apply)


@app.command("confidence", epilog=CONFIDENCE_EPILOG)
def confidence(
    bundle: BundleArgument,
    data: QuestionsArgument = None,
    limit: LimitOption = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    apply: ApplyOption = True,
    json: JsonOption = False,
) -> None:
    """Fit the confidence of answers: how likely they are right, by kind of answer."""
    opened, questions = _open(bundle, data, limit, seed, apply)
    answered = _run("asking", opened, len(questions), device, threads, partial(ask_all, questions))
    reports = report_kinds(answered)
    fitted = {
        f"{kind}_temperature": report.temperature
        for kind, report in reports.items()
        if report.temperature is not None
    }
    if apply:
        store(opened, **fitted, confidence_questions=len(answered))
    if json:
        kinds = {kind: asdict(report) for kind, report in reports.items()}
        print_json({"questions": len(answered), "kinds": kinds, "applied": apply})
        return
    _print_kinds(reports)
    _say_applied(bundle, apply)


def _open(
    bundle: Path, data: Path | None, limit: int, seed: int, apply: bool
) -> tuple[Bundle, list[CalibrationQuestion]]:
    """The verified bundle and the questions to ask it."""
    with verify_progress() as progress:
        opened = Bundle.open(bundle, progress=progress)
    if apply:
        check_storable(opened)
    if data is None:
        return opened, held_out_questions(limit, seed)
    questions = read_questions(data)
    if len(questions) > limit:
        chosen = np.random.default_rng(seed).choice(len(questions), limit, replace=False)
        questions = [questions[i] for i in sorted(chosen)]
    return opened, questions


def _run(
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


def _ask_reference(
    reference: str,
    opened: Bundle,
    questions: list[CalibrationQuestion],
    device: str | None,
    threads: int | None,
) -> Reference:
    with progress_bar() as update:
        return ask_reference(
            reference,
            opened,
            questions,
            device=device,
            threads=threads,
            progress=lambda done: update("asking the reference", done, len(questions)),
        )


def _decisions(found: Decisions, goal: Goal, before: float, after: float) -> dict[str, object]:
    calls, rtr = found.uncertainty(after)
    return {
        "goal": str(goal),
        "questions": len(found),
        "reference_call_rate": goal.call_rate,
        "before": asdict(found.at(before)),
        "after": asdict(found.at(after)),
        "uncertainty_95": {"call_rate": calls, "rtr": rtr},
        "curve": [asdict(point) for point in found.curve()],
    }


def _print_decisions(found: Decisions, goal: Goal, before: float, after: float) -> None:
    """The accuracy-RTR curve, with the points before and after, under 80 columns."""
    say(f"fitted to {goal} on {len(found):,} questions")
    say(f"{'':6} {'bias':>8} {'calls':>6} {'RTR':>6} {'right':>6} {'ms p90':>8}", style="bold")
    own = [("before", found.at(before)), ("after", found.at(after))]
    rows = [*own, *(("", point) for point in found.curve())]
    for mark, point in sorted(rows, key=lambda row: row[1].bias):
        line = f"{mark:6} {point.bias:+8.3f} {point.call_rate:6.3f} {point.rtr:6.3f}"
        say(f"{line} {_number(point.accuracy, 3):>6} {point.ms_p90:8.1f}")
    calls, rtr = found.uncertainty(after)
    say(f"on other questions like these: calls within {calls:.3f}, RTR within {rtr:.3f} (95%)")


def _print_kinds(reports: dict[AnswerKind, KindReport]) -> None:
    head = f"{'answers':22} {'count':>5} {'right':>6} {'AUROC':>6} {'temperature':>11}"
    say(f"{head} {'error before':>12} {'after':>6}", style="bold")
    for kind, report in reports.items():
        name = "text" if kind == "text" else "yes/no, count, colour"
        right = report.right / report.answers
        cells = f"{report.answers:5} {right:6.3f} {_number(report.auroc, 3):>6}"
        temperature = _number(report.temperature, 2)
        errors = f"{report.error_before:12.4f} {report.error_after:6.4f}"
        say(f"{name:22} {cells} {temperature:>11} {errors}")
        if report.temperature is None:
            warn(
                f"{name}: not fitted: that needs {LEAST_ANSWERS} answers, {LEAST_OF_EACH} of them "
                f"right and {LEAST_OF_EACH} wrong"
            )


def _say_applied(bundle: Path, apply: bool) -> None:
    note(f"stored in {bundle / MANIFEST_NAME}" if apply else "dry run: the bundle is unchanged")


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
