"""A comparison as a page for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from awares_edge.evaluation.chart import log_bars
from awares_edge.evaluation.page import (
    Raw,
    cards,
    details,
    facts,
    figure,
    heading,
    page,
    paragraph,
    table,
    verdict,
)

_CHECKS = {
    "decisions": "crop decisions the same",
    "answers": "answers the same",
    "warm": "answers the same from a kept cache",
    "drift": "largest difference of logits",
}
_SHOWN = 50
_MACHINE = ("board", "cpu", "system")


def html(results: Sequence[dict[str, Any]]) -> str:
    """The page of one reference and its candidates.

    Args:
        results: what `compare` gives, for the same reference.
    """
    reference = results[0]["reference"]
    body: list[str] = [_overview(results)] if len(results) > 1 else []
    for result in results:
        body += _candidate(result)
    body += [heading("Reference"), _about(reference), heading("How to read this"), *_notes()]
    names = ", ".join(result["candidate"]["model"] for result in results)
    title = f"Parity: {names} against {reference['model']}"
    return page(title, f"{results[0]['questions']:,} questions, {questions_of(reference)}", body)


def _overview(results: Sequence[dict[str, Any]]) -> Raw:
    rows = [
        (
            result["candidate"]["model"],
            f"{result['candidate']['runtime']}, {result['candidate'].get('precision')}",
            f"{result['decisions']['same']['share']:.2%}",
            f"{result['answers']['share']:.2%}",
            _small(max((p["difference"]["max"] for p in result["drift"]), default=None)),
            verdict(result["agrees"], "agrees" if result["agrees"] else "does not agree"),
        )
        for result in results
    ]
    titles = ("candidate", "runtime", "same decision", "same answer", "logits", "")
    return table(titles, rows, 2)


def questions_of(about: dict[str, Any]) -> str:
    """Where the questions came from."""
    source = about["questions"]
    if "file" in source:
        return f"from {source['file']}"
    return f"synthetic suite, {source['split']} split, seed {source['seed']}"


def check_line(check: dict[str, Any]) -> str:
    """One check in words: its name, its value and its limit."""
    name = _CHECKS[check["check"]]
    if "most" in check:
        return (
            f"{name}: {check['value']:.2g} of their standard deviation (at most {check['most']:g})"
        )
    return f"{name}: {check['value']:.2%} (at least {check['least']:.2%})"


def _candidate(result: dict[str, Any]) -> list[Raw]:
    decisions, candidate = result["decisions"], result["candidate"]
    word = "agrees" if result["agrees"] else "does not agree"
    parts = [
        heading(candidate["model"]),
        paragraph(verdict(result["agrees"], f"{candidate['model']} {word} with the reference")),
        cards(
            [
                (f"{decisions['same']['share']:.1%}", "same crop decision"),
                (f"{result['answers']['share']:.1%}", "same answer"),
                (f"{result['warm']['candidate']['share']:.1%}", "cold and warm alike"),
                (result["first_to_diverge"] or "none", "first stage to diverge"),
            ]
        ),
        table(
            ("check", "result"),
            [
                (check_line(check), verdict(check["ok"], _passed(check)))
                for check in result["checks"]
            ],
            2,
        ),
        heading("Decisions", 3),
        _decision_table(result),
    ]
    if result["drift"]:
        parts += [heading("Logits by phase", 3), *_drift(result)]
    if result["stages"]:
        parts += [heading("Stages", 3), _stages(result)]
    parts += _differing(result["differing"])
    parts.append(details("What was compared", [_about(candidate)]))
    return parts


def _passed(check: dict[str, Any]) -> str:
    return "passed" if check["ok"] else "failed"


def _decision_table(result: dict[str, Any]) -> Raw:
    decisions = result["decisions"]
    rate, warm = decisions["call_rate"], result["warm"]
    right = result["right"]
    accuracy = [
        (f"right answers: {side}", *_share(right[side]))
        for side in ("reference", "candidate")
        if right[side]
    ]
    rows = [
        ("same decision (the same regions)", *_share(decisions["same"])),
        ("call or no call the same", *_share(decisions["same_call"])),
        ("same answer", *_share(result["answers"])),
        *accuracy,
        ("regions' overlap (IoU), where either called", _number(decisions["iou"]), ""),
        ("questions with a call: reference", f"{rate['reference']:.2%}", ""),
        ("questions with a call: candidate", f"{rate['candidate']:.2%}", ""),
        ("cold and warm alike: reference", *_share(warm["reference"])),
        ("cold and warm alike: candidate", *_share(warm["candidate"])),
        (
            "largest difference of logits from a reused cache",
            _small(warm["candidate"]["max_drift"]),
            "",
        ),
    ]
    return table(("", "value", "95% interval"), rows)


def _share(agreement: dict[str, Any]) -> tuple[str, str]:
    low, high = agreement["ci"]
    return f"{agreement['share']:.2%}", f"{low:.1%} to {high:.1%}"


def _drift(result: dict[str, Any]) -> list[Raw]:
    drift = result["drift"]
    rows = [
        (
            phase["phase"], phase["rows"], _small(phase["difference"]["median"]),
            _small(phase["difference"]["max"]), _small(phase["kl"]["mean"]),
            _small(phase["kl"]["max"]), f"{phase['same_token']:.2%}",
        )
        for phase in drift
    ]  # fmt: skip
    titles = ("phase", "rows", "median", "max", "KL mean", "KL max", "same token")
    bars = [(phase["phase"], phase["difference"]["max"]) for phase in drift]
    parts = [
        figure(
            log_bars(bars, ""),
            "Largest difference of logits, as a share of their standard deviation; "
            "the axis is logarithmic.",
        ),
        table(titles, rows),
    ]
    if margin := result["top1"]["margin"]:
        parts.append(
            paragraph(
                f"{result['top1']['differ']} of {result['top1']['rows']} rows prefer another "
                f"token. There the reference was ahead by {margin['median']:.2g} (median) and "
                f"{margin['max']:.2g} (most) of the standard deviation."
            )
        )
    return parts


def _stages(result: dict[str, Any]) -> Raw:
    rows = [
        (
            stage["stage"], stage["probes"], f"{stage['median']:.7f}", f"{stage['min']:.7f}",
            verdict(not stage["diverged"], "diverged" if stage["diverged"] else "close"),
        )
        for stage in result["stages"]
    ]  # fmt: skip
    return table(("stage", "probes", "cosine, median", "cosine, least", ""), rows)


def _differing(rows: Sequence[dict[str, Any]]) -> list[Raw]:
    if not rows:
        return [paragraph("No question got another decision or answer.", "quiet")]
    shown = [
        (
            row["question"], _said(row["reference"]), _said(row["candidate"]),
            "" if row["turn"] is None else f"turn {row['turn']}, token {row['token']}",
            _number(row["margin"]),
        )
        for row in rows[:_SHOWN]
    ]  # fmt: skip
    parts = [
        heading(f"Questions that differ ({len(rows)})", 3),
        table(("question", "reference", "candidate", "from", "margin"), shown, 4),
    ]
    if len(rows) > _SHOWN:
        parts.append(paragraph(f"The first {_SHOWN}; --json lists all.", "quiet"))
    return parts


def _said(side: dict[str, Any]) -> str:
    calls = "; ".join(", ".join(call) for call in side["calls"])
    return f"[{calls}] {side['answer']}" if calls else side["answer"]


def _about(about: dict[str, Any]) -> Raw:
    machine = about.get("machine", {})
    return facts(
        [
            ("model", about["model"]),
            ("runtime", about["runtime"]),
            ("precision", about.get("precision")),
            ("manifest", _hash(about.get("manifest_sha256"))),
            ("device", about.get("device")),
            ("threads", about.get("threads")),
            ("protocol", f"{about['protocol']}, SHA-256 {about['protocol_sha256'][:16]}"),
            ("questions", f"{questions_of(about)}, SHA-256 {about['questions_sha256'][:16]}"),
            ("machine", ", ".join(str(machine[k]) for k in _MACHINE if machine.get(k))),
            ("versions", ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items())),
            ("recorded", about.get("recorded")),
        ]
    )  # fmt: skip


def _notes() -> list[Raw]:
    return [
        paragraph(
            "A decision is the model's choice to answer or to call, and the regions of each call. "
            "Cold is a fresh picture; warm is the same question again with the picture's KV cache "
            "and the crops' features kept. For logits the candidate is given the reference's own "
            "tokens and pixels, so that every row of both follows the same text. A margin is how "
            "far the reference's choice was ahead of its second, as a share of the logits' "
            "standard deviation: a small one is a near tie.",
            "quiet",
        )
    ]


def _hash(value: str | None) -> str | None:
    return f"SHA-256 {value[:16]}" if value else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _small(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
