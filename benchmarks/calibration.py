"""How well a fitted bias holds on questions that it was not fitted on (docs/calibration.md).

    python benchmarks/calibration.py BUNDLE --reference checkpoints/nano --target-rtr 0.33

Fits on the synthetic suite's validation split and reports on its test split. Without --target-rtr
only the first token of each question is computed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import awares_edge
from awares_edge.bundle.store import Bundle
from awares_edge.calibration.decisions import Decisions, fit_call_rate, fit_rtr
from awares_edge.calibration.outcomes import Measured, Way, margins, measure
from awares_edge.calibration.questions import CalibrationQuestion, held_out_questions
from awares_edge.calibration.reference import Reference, ask_reference, read_reference
from awares_edge.evaluation import synthetic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--reference", default="checkpoints/nano")
    parser.add_argument("--target-rtr", type=float, action="append", default=[])
    parser.add_argument("--fit", type=int, default=1000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--cache", type=Path, help="Folder that keeps the reference's decisions.")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()

    suites = {"fit": held_out_questions(args.fit), "test": test_questions(args.test)}
    bundle = Bundle.open(args.bundle)
    both_ways = bool(args.target_rtr)
    with awares_edge.load(args.bundle, threads=args.threads) as model:
        ask = measure if both_ways else margins_alone
        found = {name: Decisions(ask(asked, model)) for name, asked in suites.items()}
    rates = {}
    for name, asked in suites.items():
        reference = ask_once(args, bundle, asked, name)
        rates[name] = reference.call_rate([True] * len(asked))
    bias = fit_call_rate(found["fit"], rates["fit"])
    result = {
        "bundle": f"{bundle.manifest.runtime} {bundle.manifest.precision}",
        "fitted_on": args.fit,
        "tested_on": args.test,
        "reference_rate": rates,
        "rate": {name: one.at(0.0).call_rate for name, one in found.items()},
        "bias": bias,
        "rate_after": {name: one.at(bias).call_rate for name, one in found.items()},
        "targets": [target(found, rtr) for rtr in args.target_rtr],
        "before": [vars_of(found["test"], 0.0)] if both_ways else [],
    }
    print(json.dumps(result, indent=1))


def target(found: dict[str, Decisions], rtr: float) -> dict[str, float | None]:
    bias = fit_rtr(found["fit"], rtr)
    return {"target": rtr, "fitted_rtr": found["fit"].at(bias).rtr, **vars_of(found["test"], bias)}


def vars_of(decisions: Decisions, bias: float) -> dict[str, float | None]:
    point = decisions.at(bias)
    return {
        "bias": bias,
        "test_rtr": point.rtr,
        "test_accuracy": point.accuracy,
        "test_call_rate": point.call_rate,
        "test_ms_p90": point.ms_p90,
    }


def margins_alone(asked: list[CalibrationQuestion], model: awares_edge.Model) -> list[Measured]:
    nothing = Way(None, 1.0, 1.0)
    return [Measured(m, nothing, nothing) for m in margins(asked, model) if m is not None]


def ask_once(
    args: argparse.Namespace, bundle: Bundle, asked: list[CalibrationQuestion], name: str
) -> Reference:
    kept = args.cache and args.cache / f"{name}-{len(asked)}.json"
    if kept and kept.is_file():
        return read_reference(kept, bundle, asked)
    reference = ask_reference(args.reference, bundle, asked, threads=args.threads)
    if kept:
        reference.save(kept)
    return reference


def test_questions(count: int) -> list[CalibrationQuestion]:
    return [
        CalibrationQuestion(image, question.text, answer=question.answer)
        for _, image, chosen in synthetic.questions("test", 0, count)
        for question in chosen
    ]


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
