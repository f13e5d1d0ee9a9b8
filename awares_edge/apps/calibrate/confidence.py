"""`awares-edge calibrate confidence`: how likely answers are right, by kind of answer."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

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
from awares_edge.apps.console import print_json, say, warn
from awares_edge.apps.options import DeviceOption, JsonOption, ThreadsOption
from awares_edge.calibration.confidence import (
    LEAST_ANSWERS,
    LEAST_OF_EACH,
    KindReport,
    ask_all,
    report_kinds,
)
from awares_edge.calibration.stored import store
from awares_edge.protocol.calibration import AnswerKind

EPILOG = """
Examples:

    awares-edge calibrate confidence my-bundle questions.jsonl

    awares-edge ask photo.jpg "What does it say?" --bundle my-bundle --abstain-below 0.9

A line of the file: `{"image": "a.png", "question": "What ...?", "answer": "42"}`.
"""


def fit_confidence(
    bundle: BundleArgument,
    questions: QuestionsArgument = None,
    limit: LimitOption = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    apply: ApplyOption = True,
    json: JsonOption = False,
) -> None:
    """Fit the confidence of answers: how likely they are right, by kind of answer."""
    opened, asked = open_inputs(bundle, questions, limit, seed, apply)
    ask = partial(ask_all, asked)
    answered = run_model("asking", opened, len(asked), device, threads, ask)
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
    say_applied(bundle, apply)


def _print_kinds(reports: dict[AnswerKind, KindReport]) -> None:
    head = f"{'answers':22} {'count':>5} {'right':>6} {'AUROC':>6} {'temperature':>11}"
    say(f"{head} {'error before':>12} {'after':>6}", style="bold")
    for kind, report in reports.items():
        name = "text" if kind == "text" else "yes/no, count, colour"
        right = report.right / report.answers
        cells = f"{report.answers:5} {right:6.3f} {number(report.auroc, 3):>6}"
        temperature = number(report.temperature, 2)
        errors = f"{report.error_before:12.4f} {report.error_after:6.4f}"
        say(f"{name:22} {cells} {temperature:>11} {errors}")
        if report.temperature is None:
            warn(
                f"{name}: not fitted: that needs {LEAST_ANSWERS} answers, {LEAST_OF_EACH} of them "
                f"right and {LEAST_OF_EACH} wrong"
            )
