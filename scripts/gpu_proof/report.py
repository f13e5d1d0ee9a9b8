"""The results as one Markdown page: a table for each kind of stage, then what went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]
_LOG_LINES = 20


def markdown(record: Row) -> str:
    """The page.

    Args:
        record: as `Record.to_dict` gives it.
    """
    groups: dict[str, list[Row]] = {}
    sizes = {s["stage"]: (s["result"] or {}).get("parameters") for s in record["stages"]}
    for stage in record["stages"]:
        groups.setdefault(stage["group"], []).append(stage)
    parts = [_head(record, groups.pop("runtimes", []))]
    preparation = groups.pop("preparation", [])
    for group, stages in groups.items():
        make = {"conformance": _conformance, "parity": _parity}.get(group, _profile)
        if group.endswith("large") and (size := sizes.get("large-checkpoint")):
            group += f": random weights, {size:,} parameters"
        parts.append(f"## {group.capitalize()}\n\n{make(stages)}")
    if preparation:
        parts.append(f"## Preparation\n\n{_preparation(preparation)}")
    parts += [_log(stage) for stage in record["stages"] if stage["state"] == "failed"]
    return "\n\n".join(parts) + "\n"


def _head(record: Row, runtimes: list[Row]) -> str:
    counts = record["counts"]
    title = "GPU proof" + (", rehearsed on a CPU" if record["rehearsal"] else "")
    lines = [
        f"# {title}",
        "",
        f"{record['started']}, device {record['device']}, budget {record['budget_s']:.0f} s: "
        + ", ".join(f"{count} {state}" for state, count in counts.items())
        + ".",
    ]
    if record["rehearsal"]:
        lines += ["", "Everything is shrunk: the figures say that it runs, and nothing of speed."]
    if record["gpu_memory"] != "measured":
        lines += ["", f"GPU memory was not measured: {record['gpu_memory']}."]
    for stage in runtimes:
        lines += ["", "## Runtimes", "", _runtimes(stage)]
    return "\n".join(lines)


def _runtimes(stage: Row) -> str:
    found = stage["result"]
    if found is None:
        return _state(stage)
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    where = "; ".join(found["gpu"]) or "no NVIDIA GPU"
    cpu = found["machine"]["cpu"]
    rows: list[Sequence[object]] = []
    for row in found["runtimes"]:
        checks = {check["device"]: check for check in row.get("checks", [])}
        if row["missing"]:
            rows.append((row["name"], "", f"not installed: {', '.join(row['missing'])}"))
        elif not checks:
            rows.append((row["name"], "", row["error"] or "no usable device"))
        for device, check in checks.items():
            reason = f": {check['reason']}" if check["reason"] else ""
            rows.append((row["name"], device, check["result"] + reason))
    table = _table(("runtime", "device", "one inference"), rows)
    return f"{where}; {cpu}; {versions}.\n\n{table}"


def _conformance(stages: list[Row]) -> str:
    rows = []
    for stage in stages:
        found = stage["result"] or {}
        counts = [found.get(name) for name in ("passed", "failed", "skipped")]
        rows.append((stage["stage"].partition("-")[2], *counts, _state(stage)))
    return _table(("runtime", "passed", "failed", "skipped", "result"), rows)


def _parity(stages: list[Row]) -> str:
    rows = []
    for stage in stages:
        name, found = stage["stage"].partition("-")[2], stage["result"]
        if found is None:
            rows.append((name, *[None] * 6, _state(stage)))
            continue
        drift = max((phase["difference"]["max"] for phase in found["drift"]), default=None)
        rows.append(
            (
                name,
                found["precision"],
                found["questions"],
                _percent(found["decisions"]["same"]["share"]),
                _percent(found["answers"]["share"]),
                _percent(found["warm"]["candidate"]["share"]),
                None if drift is None else f"{drift:.2g}",
                _state(stage),
            )
        )
    titles = (
        "runtime", "precision", "questions", "same decisions", "same answers",
        "same from a kept cache", "largest drift of logits, std", "result",
    )  # fmt: skip
    table = _table(titles, rows)
    return f"The embedded model, against transformers in float32 on the CPU.\n\n{table}"


def _profile(stages: list[Row]) -> str:
    reference = next(
        (_p50(s, "total_ms") for s in stages if s["result"] and s["result"]["mode"] == "reference"),
        None,
    )
    rows = []
    for stage in stages:
        total = _p50(stage, "total_ms")
        rows.append(
            (
                _variant(stage),
                _number(total, 1),
                _number(_p50(stage, "ttft_ms"), 1),
                _number(_p50(stage, "tpot_ms"), 2),
                _number(_p50(stage, "tokens_per_s"), 0),
                f"{reference / total:.2f}x" if reference and total else None,
                _megabytes(stage["peak_gpu_bytes"]),
                _megabytes(stage["result"] and stage["result"]["peak_host_bytes"]),
                _state(stage),
            )
        )
    titles = (
        "variant", "question, ms", "TTFT, ms", "TPOT, ms", "tokens/s", "times as fast",
        "peak GPU, MB", "peak host, MB", "result",
    )  # fmt: skip
    return (
        "Medians of a question with two crops. `transformers`: two `generate` calls, everything "
        "computed twice, as published. The others keep the cache; `torch` is transformers' model "
        f"under this project's controller.\n\n{_table(titles, rows)}"
    )


def _preparation(stages: list[Row]) -> str:
    rows = [
        (s["stage"], _megabytes(s["result"] and s["result"].get("bytes")), _state(s))
        for s in stages
    ]
    return _table(("stage", "MB written", "result"), rows)


def _log(stage: Row) -> str:
    """The end of what a failed stage printed; its text cannot end the fence."""
    text = "\n".join(stage["log"].replace("```", "~~~").splitlines()[-_LOG_LINES:])
    return f"## Failed: {stage['stage']}\n\n{stage['reason']}\n\n```\n{text}\n```"


def _variant(stage: Row) -> str:
    return str(stage["stage"]).partition("-")[2].replace("-", ", ")


def _p50(stage: Row, figure: str) -> float | None:
    found = stage["result"]
    values = found["figures"][figure] if found else None
    return values["p50"] if values else None


def _state(stage: Row) -> str:
    if stage["state"] == "done":
        return f"done in {stage['seconds']:.0f} s"
    return f"**{stage['state']}**: {stage['reason']}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _number(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _megabytes(value: int | None) -> str | None:
    return None if value is None else f"{value / 1e6:.0f}"


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    """A cell's text: a reason may hold bars and line ends."""
    return "" if value is None else " ".join(str(value).replace("|", "\\|").split())
