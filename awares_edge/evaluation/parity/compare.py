"""Two recordings side by side: what agrees, how far numbers drift, and whether that is enough."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from awares_edge.evaluation.intervals import wilson
from awares_edge.evaluation.parity.collect import check_same_terms
from awares_edge.evaluation.parity.numbers import (
    STAGES,
    Drift,
    drifts,
    intersection_over_union,
    parting,
    stage_cosines,
)
from awares_edge.evaluation.parity.recording import PHASES, Recording, Row

Pair = tuple[Row, Row]


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as parity.

    Attributes:
        decisions: least share of questions with the same crop decision (the same sets of regions).
        answers: least share of questions with the same answer.
        warm: least share of the candidate's questions that get the same answer from a kept cache.
        drift: largest difference of logits, as a share of their standard deviation; None for any.
        cosine: a stage below this has diverged.
    """

    decisions: float = 0.99
    answers: float = 0.98
    warm: float = 1.0
    drift: float | None = None
    cosine: float = 0.999


def compare(reference: Recording, candidate: Recording, limits: Limits) -> dict[str, Any]:
    """What `awares-edge parity --json` prints for one candidate.

    Raises:
        InputError: the two were not asked the same, in the same way.
    """
    check_same_terms(reference.about, candidate.about)
    pairs = list(zip(reference.rows, candidate.rows, strict=True))
    drift = [
        row
        for number, probe in reference.probes.items()
        if number in candidate.probes
        for row in drifts(probe, candidate.probes[number])
    ]
    result: dict[str, Any] = {
        "reference": reference.about,
        "candidate": candidate.about,
        "questions": len(pairs),
        "probes": sum(number in candidate.probes for number in reference.probes),
        "decisions": _decisions(pairs),
        "answers": _agreement(ours.answer == theirs.answer for ours, theirs in pairs),
        "right": {"reference": _right(reference), "candidate": _right(candidate)},
        "warm": _warm(reference, candidate),
        "drift": [_phase(phase, drift) for phase in PHASES if any(d.phase == phase for d in drift)],
        "top1": _top1(drift),
        "stages": _stages(reference, candidate, limits.cosine),
        "differing": [_differing(*pair) for pair in pairs if not _same(*pair)],
    }
    result["first_to_diverge"] = next(
        (stage["stage"] for stage in result["stages"] if stage["diverged"]), None
    )
    result["checks"] = _checks(result, limits)
    result["agrees"] = all(check["ok"] for check in result["checks"])
    return result


def _sets(row: Row) -> list[set[object]]:
    return [set(call) for call in row.calls]


def _same_decision(ours: Row, theirs: Row) -> bool:
    return ours.called == theirs.called and _sets(ours) == _sets(theirs)


def _same(ours: Row, theirs: Row) -> bool:
    return _same_decision(ours, theirs) and ours.answer == theirs.answer


def _decisions(pairs: Sequence[Pair]) -> dict[str, Any]:
    called = [pair for pair in pairs if pair[0].called or pair[1].called]
    rates = [sum(pair[side].called for pair in pairs) / len(pairs) for side in (0, 1)]
    overlaps = [intersection_over_union(*map(_boxes, pair)) for pair in called]
    return {
        "same": _agreement(_same_decision(*pair) for pair in pairs),
        "same_call": _agreement(ours.called == theirs.called for ours, theirs in pairs),
        "iou": _round(np.mean(overlaps)) if overlaps else None,
        "call_rate": {"reference": _round(rates[0]), "candidate": _round(rates[1])},
        "call_rate_shift": _round(rates[1] - rates[0]),
    }


def _boxes(row: Row) -> list[tuple[int, int, int, int]]:
    return [box for call in row.calls for _, box in call]


def _agreement(same: Iterable[bool]) -> dict[str, Any]:
    values = list(same)
    share = sum(values) / len(values)
    return {
        "count": sum(values),
        "share": _round(share),
        "ci": [_round(bound) for bound in wilson(share, len(values))],
    }


def _right(recording: Recording) -> dict[str, Any] | None:
    """Accuracy over the questions whose answer is known; None where there are none."""
    known = [row.right for row in recording.rows if row.right is not None]
    return _agreement(known) if known else None


def _warm(reference: Recording, candidate: Recording) -> dict[str, Any]:
    def side(recording: Recording) -> dict[str, Any]:
        drift = [probe.reuse_drift for probe in recording.probes.values()]
        return {
            **_agreement(row.warm for row in recording.rows),
            "max_drift": max(drift) if drift else None,
        }

    return {"reference": side(reference), "candidate": side(candidate)}


def _phase(phase: str, drift: Sequence[Drift]) -> dict[str, Any]:
    rows = [row for row in drift if row.phase == phase]
    differences, kl = [r.difference for r in rows], [r.kl for r in rows]
    return {
        "phase": phase,
        "rows": len(rows),
        "difference": {"median": float(np.median(differences)), "max": max(differences)},
        "kl": {"mean": float(np.mean(kl)), "max": max(kl)},
        "same_token": _round(sum(row.same for row in rows) / len(rows)),
    }


def _top1(drift: Sequence[Drift]) -> dict[str, Any]:
    """Rows where the two prefer different tokens, and how sure the reference was there."""
    margins = sorted(row.margin for row in drift if not row.same)
    return {
        "rows": len(drift),
        "differ": len(margins),
        "margin": {"median": float(np.median(margins)), "max": margins[-1]} if margins else None,
    }


def _stages(reference: Recording, candidate: Recording, least: float) -> list[dict[str, Any]]:
    found: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for number, probe in reference.probes.items():
        if number in candidate.probes:
            for stage, value in stage_cosines(probe, candidate.probes[number]).items():
                found[stage].append(value)
    return [
        {
            "stage": stage,
            "probes": len(values),
            "median": float(np.median(values)),
            "min": min(values),
            "diverged": min(values) < least,
        }
        for stage, values in found.items()
        if values
    ]


def _differing(ours: Row, theirs: Row) -> dict[str, Any]:
    where = parting(ours, theirs)
    return {
        "question": ours.question,
        "question_sha256": ours.sha256,
        "same_decision": _same_decision(ours, theirs),
        "reference": {"calls": _names(ours), "answer": ours.answer},
        "candidate": {"calls": _names(theirs), "answer": theirs.answer},
        "turn": where[0] + 1 if where else None,
        "token": where[1] + 1 if where else None,
        "margin": where[2] if where else None,
    }


def _names(row: Row) -> list[list[str]]:
    return [[crop_id or str(list(box)) for crop_id, box in call] for call in row.calls]


def _checks(result: dict[str, Any], limits: Limits) -> list[dict[str, Any]]:
    least = [
        ("decisions", result["decisions"]["same"]["share"], limits.decisions),
        ("answers", result["answers"]["share"], limits.answers),
        ("warm", result["warm"]["candidate"]["share"], limits.warm),
    ]
    checks = [
        {"check": name, "value": value, "least": bound, "ok": value >= bound}
        for name, value, bound in least
    ]
    if limits.drift is not None and result["drift"]:
        worst = max(phase["difference"]["max"] for phase in result["drift"])
        ok = worst <= limits.drift
        checks.append({"check": "drift", "value": worst, "most": limits.drift, "ok": ok})
    return checks


def _round(value: Any) -> float:
    return round(float(value), 4)
