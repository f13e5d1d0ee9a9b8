"""One variant's rows in a few figures: quantiles by turn and phase, and shares of the limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from awares_edge.evaluation.profile.work import Shape, shares

FIGURES = (
    "total_ms", "first_token_ms", "ttft_ms", "tpot_ms", "tokens_per_s", "cpu_ms", "rtr",
    "reused_tokens", "prefill_tokens",
)  # fmt: skip

_LATER = {"preprocess": "crop preprocess", "vision": "crop vision", "prefill": "append"}


def summarise(
    result: dict[str, Any], shape: Shape | None, limits: dict[str, float]
) -> dict[str, Any]:
    """Quantiles of the rows of one variant.

    Args:
        result: as `measure` or `measure_endpoint` gives it.
        shape: the model's; None where it is not known, as behind an endpoint.
        limits: the machine's, as `measure_limits` gives them.
    """
    rows = result["rows"]
    phases: dict[tuple[int, str, str], list[float]] = {}
    reached: dict[tuple[int, str, str], list[float]] = {}
    for row in rows:
        for key, ms, share in _phases(row, shape, limits, result):
            phases.setdefault(key, []).append(ms)
            if share is not None:
                reached.setdefault(key, []).append(share)
    sustained = result["sustained"]
    return {
        "questions": len(rows),
        "figures": {name: quantiles([row[name] for row in rows]) for name in FIGURES},
        "phases": [
            {
                "turn": turn,
                "phase": phase,
                "source": source,
                **(quantiles(values) or {}),
                "mean": float(np.sum(values)) / len(rows),
                "share_of_limit": _median(reached.get((turn, phase, source), [])),
            }
            for (turn, phase, source), values in sorted(phases.items(), key=lambda item: item[0][0])
        ],
        "turns": _turns(rows),
        "calls": sum(len(row["turns"]) > 1 for row in rows) / len(rows),
        "sustained": _sustained(sustained) if sustained else None,
    }


def _phases(
    row: dict[str, Any], shape: Shape | None, limits: dict[str, float], result: dict[str, Any]
) -> Iterator[tuple[tuple[int, str, str], float, float | None]]:
    """Turn, phase and who measured it; milliseconds; share of the limit."""
    turns = row["turns"]
    for number, turn in enumerate(turns, 1):
        found: dict[str, float] = {}
        if shape and result["device"] == "cpu":
            found = shares(shape, turn, limits, result["runtime"], result["precision"])
        for phase, ms in turn["ms"].items():
            if ms:
                name = phase_name(phase, number, len(turns))
                source = "server" if phase in result.get("reported", ()) else "here"
                yield (number, name, source), ms, found.get(phase)


def _turns(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Quantiles of whole turns, where they were seen from outside."""
    seen: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        for number, turn in enumerate(row["turns"], 1):
            if (ms := turn.get("seen_ms")) is not None:
                until = "until the end" if number == len(row["turns"]) else "until the crops"
                seen.setdefault((number, until), []).append(ms)
    return [
        {"turn": turn, "phase": until, **(quantiles(values) or {})}
        for (turn, until), values in sorted(seen.items())
    ]


def phase_name(phase: str, turn: int, turns: int) -> str:
    """What people call a phase of a turn: the decoding of all turns but the last is the call."""
    if phase == "decode":
        return "decode" if turn == turns else "call"
    return _LATER.get(phase, phase) if turn > 1 else phase


def quantiles(values: Sequence[float | None]) -> dict[str, float] | None:
    """p50, p90 and p99; None without a value."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    p50, p90, p99 = np.quantile(there, [0.5, 0.9, 0.99])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99)}


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _sustained(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first and the last tenth of the time, compared."""
    end = samples[-1]["at_s"]
    first = [s["total_ms"] for s in samples if s["at_s"] <= end / 10]
    last = [s["total_ms"] for s in samples if s["at_s"] >= end * 9 / 10]
    celsius = [s["celsius"] for s in samples if s["celsius"] is not None]
    throttled = [s["throttled"] for s in samples if s["throttled"] is not None]
    return {
        "seconds": end,
        "questions": len(samples),
        "first_ms": _median(first),
        "last_ms": _median(last),
        "slower": float(np.median(last) / np.median(first)) if first and last else None,
        "celsius": {"first": celsius[0], "max": max(celsius)} if celsius else None,
        "throttled": throttled[-1] - throttled[0] if throttled else None,
    }
