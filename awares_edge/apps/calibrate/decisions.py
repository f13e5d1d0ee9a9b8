"""`awares-edge calibrate decisions`: how often a bundle zooms, by one bias on that decision."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from awares_edge.apps.calibrate.options import (
    ApplyOption,
    BundleArgument,
    LimitOption,
    QuestionsArgument,
    SeedOption,
    number,
    open_inputs,
    run_model,
    say_applied,
)
from awares_edge.apps.console import print_json, progress_bar, say
from awares_edge.apps.options import DeviceOption, JsonOption, ThreadsOption
from awares_edge.bundle.store import Bundle
from awares_edge.calibration.decisions import Decisions, Goal, check_enough, check_goal
from awares_edge.calibration.outcomes import measure
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.calibration.reference import Reference, ask_reference
from awares_edge.calibration.stored import store
from awares_edge.errors import InputError
from awares_edge.files import check_output
from awares_edge.protocol.calibration import NOT_CALIBRATED

EPILOG = """
Examples:

    awares-edge calibrate decisions my-int4-bundle --reference ./my-checkpoint

    awares-edge calibrate decisions my-bundle questions.jsonl --target-rtr 0.33

    awares-edge calibrate decisions my-bundle --deadline-ms 900 --dry-run

A line of the file: `{"image": "a.png", "question": "What ...?", "answer": "42"}`. Without "answer"
no accuracy is shown.
"""


def fit_decisions(
    bundle: BundleArgument,
    questions: QuestionsArgument = None,
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
    _check_options(reference, target_rtr, deadline_ms, save_reference)
    opened, asked = open_inputs(bundle, questions, limit, seed, apply)
    check_enough(len(asked))
    # First, so that a reference of another model is refused at once.
    saved = _ask_reference(reference, opened, asked, device, threads) if reference else None
    if saved and save_reference:
        saved.save(save_reference)
    ask = partial(measure, asked)
    measured = run_model("asking both ways", opened, len(asked), device, threads, ask)
    found = Decisions([one for one in measured if one])
    rate = saved.call_rate([one is not None for one in measured]) if saved else None
    goal = Goal(rate, target_rtr, deadline_ms)
    bias, stored = goal.fit(found), opened.manifest.calibration or NOT_CALIBRATED
    if apply:
        store(opened, decision_bias=bias, decision_goal=str(goal), decision_questions=len(found))
    if json:
        result = _decisions(found, goal, stored.decision_bias, bias)
        print_json({**result, "undecided": len(measured) - len(found), "applied": apply})
        return
    _print_decisions(found, goal, stored.decision_bias, bias)
    say_applied(bundle, apply)


def _check_options(
    reference: str | None,
    target_rtr: float | None,
    deadline_ms: float | None,
    save_reference: Path | None,
) -> None:
    if sum(goal is not None for goal in (reference, target_rtr, deadline_ms)) != 1:
        raise InputError("give one of --reference, --target-rtr and --deadline-ms")
    check_goal(target_rtr, "--target-rtr")
    check_goal(deadline_ms, "--deadline-ms")
    if save_reference and reference is None:
        raise InputError("--save-reference needs --reference")
    if save_reference:
        check_output(save_reference)


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
        say(f"{line} {number(point.accuracy, 3):>6} {point.ms_p90:8.1f}")
    calls, rtr = found.uncertainty(after)
    say(f"on other questions like these: calls within {calls:.3f}, RTR within {rtr:.3f} (95%)")
