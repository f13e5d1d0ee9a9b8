"""Summary of a folder of runs: scores with intervals, tokens and calls, next to the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from awares_edge.evaluation.benchmarks import BENCHMARKS
from awares_edge.evaluation.benchmarks.base import Rules, Scored
from awares_edge.evaluation.intervals import of_mean, wilson
from awares_edge.evaluation.modes import MODES
from awares_edge.evaluation.paper import PAPER
from awares_edge.evaluation.run.folder import ROWS, expected_rows, read_settings, runs
from awares_edge.evaluation.run.rows import Row, read_rows
from awares_edge.evaluation.suites.own import OwnRules
from awares_edge.evaluation.suites.synth import SynthRules

SUITES = (*BENCHMARKS, "synth")


@dataclass(frozen=True)
class Measured:
    """One run, summed up.

    Attributes:
        numbers: as JSON; the same rows give the same bytes.
        timing: milliseconds, which differ from run to run.
    """

    numbers: dict[str, Any]
    timing: dict[str, Any]


def rules_of(suite: str) -> Rules:
    """The rules of a suite, by its name; of the user's own for any other."""
    if suite == SynthRules.name:
        return SynthRules()
    return BENCHMARKS[suite] if suite in BENCHMARKS else OwnRules(suite)


def measure(folder: Path) -> Measured:
    """Sum up one run.

    Raises:
        InputError: its files cannot be read.
    """
    settings = read_settings(folder)
    suite, mode = str(settings["suite"]), str(settings["mode"])
    rules = rules_of(suite)
    sums = _Sums()
    for row in read_rows(folder / ROWS):
        sums.add(row)
    done = sums.failed + len(sums.samples)
    numbers = {
        "suite": suite,
        "mode": mode,
        "complete": done == expected_rows(settings),
        "questions": len(sums.samples),
        "failed": sums.failed,
        **_scores(rules, sums),
        **sums.tokens(),
        "totals": _rounded(rules.totals(sums.samples)) if sums.samples else {},
        "paper": PAPER[mode].scores.get(suite) if mode in PAPER else None,
    }
    return Measured(numbers, {"suite": suite, "mode": mode, **sums.timing()})


def summarise(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(numbers, timing) of every run in a folder, in the order of the paper's table.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    measured = [measure(folder) for folder in runs(root).values()]
    measured.sort(key=lambda m: (_place(SUITES, m.numbers["suite"]), *_mode_place(m)))
    numbers = [m.numbers for m in measured]
    summary = {**read_settings(root), "runs": numbers, "means": _means(numbers)}
    return summary, {"runs": [m.timing for m in measured]}


class _Sums:
    """Counts of the rows of one run; texts are kept only for the totals."""

    def __init__(self) -> None:
        self.samples: list[Scored] = []
        self.failed = 0
        self._rtr: list[float] = []
        self._pixels: list[float] = []
        self._ms: list[float] = []
        self._spent = self._full = self._direct = self._called = self._valid = 0

    def add(self, row: Row) -> None:
        if row.score is None or row.visual_tokens is None:
            self.failed += 1
            return
        self.samples.append(Scored(row.prediction, row.references, row.score, row.facts))
        self._rtr.append(row.rtr or 0.0)
        self._pixels.append(row.pixel_ratio or 0.0)
        self._ms.append(row.ms or 0.0)
        self._spent += row.visual_tokens.low + row.visual_tokens.crops
        self._full += row.visual_tokens.full
        self._direct += not row.crops
        self._called += row.call_status != "none"
        self._valid += row.call_status == "ok"

    def tokens(self) -> dict[str, Any]:
        count = len(self.samples)
        if not count:
            empty = ("rtr", "rtr_ci", "pixel_ratio", "direct_share", "valid_calls")
            return dict.fromkeys(empty)
        return {
            "rtr": round(sum(self._rtr) / count, 4),
            "rtr_ci": _interval(*of_mean(self._rtr), most=None),
            "pixel_ratio": round(sum(self._pixels) / count, 4),
            "visual_tokens": self._spent,
            "full_tokens": self._full,
            "direct_share": round(self._direct / count, 4),
            "valid_calls": round(self._valid / self._called, 4) if self._called else None,
        }

    def timing(self) -> dict[str, float | None]:
        if not self._ms:
            return {"ms_mean": None, "ms_p50": None, "ms_p95": None}
        quantiles = np.quantile(self._ms, [0.5, 0.95])
        return {
            "ms_mean": round(float(np.mean(self._ms)), 2),
            "ms_p50": round(float(quantiles[0]), 2),
            "ms_p95": round(float(quantiles[1]), 2),
        }


def _scores(rules: Rules, sums: _Sums) -> dict[str, Any]:
    """The score that the paper reports, with its 95% interval (Wilson's where it is a share)."""
    if not sums.samples:
        return {"score": None, "score_ci": None}
    score = rules.totals(sums.samples)[rules.total]
    values = [sample.score for sample in sums.samples]
    bounds = of_mean(values) if rules.graded else wilson(score, len(values))
    return {"score": round(score, 4), "score_ci": _interval(*bounds, most=1.0)}


def _interval(low: float, high: float, most: float | None) -> list[float] | None:
    """Bounds to print: within 0 and `most`; the whole range, if it is known, for a single value."""
    if not isfinite(low):
        return None if most is None else [0.0, most]
    low, high = max(0.0, low), high if most is None else min(most, high)
    return [round(low, 4), round(high, 4)]


def _means(numbers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By mode, the mean over the benchmarks that were run, which count alike.

    They are independent, so half the widths of their intervals add as squares.
    """
    means: dict[str, Any] = {}
    asked = {n["mode"] for n in numbers}
    for mode in sorted(asked, key=lambda name: (_place(MODES, name), name)):
        of_mode = [
            n
            for n in numbers
            if n["mode"] == mode and n["suite"] in BENCHMARKS and n["score"] is not None
        ]
        if not of_mode:
            continue
        scores = [n["score"] for n in of_mode]
        halves = [(high - low) / 2 for low, high in (n["score_ci"] for n in of_mode)]
        score = sum(scores) / len(scores)
        half = sqrt(sum(h * h for h in halves)) / len(scores)
        means[mode] = {
            "benchmarks": [n["suite"] for n in of_mode],
            "score": round(score, 4),
            "score_ci": _interval(score - half, score + half, most=1.0),
            "rtr": round(sum(n["rtr"] for n in of_mode) / len(scores), 4),
            "pixel_ratio": round(sum(n["pixel_ratio"] for n in of_mode) / len(scores), 4),
        }
    return means


def _rounded(totals: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in totals.items()}


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _mode_place(measured: Measured) -> tuple[str, int]:
    suite = measured.numbers["suite"]
    return suite, _place(MODES, measured.numbers["mode"])
