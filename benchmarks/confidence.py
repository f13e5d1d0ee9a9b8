"""How well confidence tells right answers from wrong ones (docs/calibration.md).

    python benchmarks/confidence.py [BUNDLE]

Pictures of the synthetic suite are blurred and darkened at random. Temperatures are fitted on the
validation split; the figures, and what abstaining below 0.9 keeps, are of the test split.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import ImageEnhance, ImageFilter

import awares_edge
from awares_edge.calibration.confidence import (
    Answered,
    ask_all,
    auroc,
    calibration_error,
    report_kinds,
)
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.evaluation import synthetic
from awares_edge.protocol.calibration import answer_kind, log_odds, tempered
from awares_edge.synth.generate import Split

ABSTAIN_BELOW = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    with awares_edge.load(args.bundle, threads=args.threads) as model:
        fitted = report_kinds(ask_all(degraded("validation", args.count), model))
        tested = ask_all(degraded("test", args.count), model)
    rows = {}
    for kind, report in fitted.items():
        group = [a for a in tested if answer_kind(a.text) == kind]
        rows[kind] = figures(group, report.temperature or 1.0)
    print(json.dumps(rows, indent=1))


def figures(answered: list[Answered], temperature: float) -> dict[str, float | int | None]:
    right = np.array([a.right for a in answered])
    raw = np.array([tempered(a.log_probability, 1.0) for a in answered])
    fitted = np.array([tempered(a.log_probability, temperature) for a in answered])
    kept = fitted >= ABSTAIN_BELOW
    return {
        "answers": len(right),
        "accuracy": round(float(right.mean()), 3),
        "auroc": auroc(np.array([log_odds(a.log_probability) for a in answered]), right),
        "temperature": round(temperature, 3),
        "error_before": round(calibration_error(raw, right), 4),
        "error_after": round(calibration_error(fitted, right), 4),
        "kept": round(float(kept.mean()), 3),
        "accuracy_of_kept": round(float(right[kept].mean()), 3) if kept.any() else None,
    }


def degraded(split: Split, count: int) -> list[CalibrationQuestion]:
    """Blurred by up to 1.2 pixels (standard deviation) and darkened by up to a third."""
    rng, found = np.random.default_rng(count), []
    for _, image, chosen in synthetic.questions(split, 0, count):
        blurred = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.2))))
        shown = ImageEnhance.Brightness(blurred).enhance(float(rng.uniform(0.67, 1)))
        found += [CalibrationQuestion(shown, q.text, answer=q.answer) for q in chosen]
    return found


if __name__ == "__main__":
    main()
