"""A run, or two runs compared, as a page for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from awares_edge.evaluation.chart import lines, stacked_bars
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
from awares_edge.evaluation.profile.endpoint_report import (
    ENDPOINT_NOTE,
    endpoint_fact,
    one_of_each_endpoint,
)
from awares_edge.evaluation.profile.job import source_name

# Colours of the bars, in this order; the last one is what no phase holds.
_GROUPS = (
    "preprocess", "vision", "prefill", "call", "crop vision", "append", "decode", "rest",
)  # fmt: skip
_GROUP_OF = {"crop preprocess": "preprocess", "vision and prefill": "prefill"}
_MAX_POINTS = 600
# Medians of the table: title, figure, decimals.
_COLUMNS = (
    ("CPU ms", "cpu_ms", 2),
    ("first token", "first_token_ms", 2),
    ("TTFT", "ttft_ms", 2),
    ("TPOT", "tpot_ms", 2),
    ("tokens/s", "tokens_per_s", 1),
    ("RTR", "rtr", 2),
    ("reused", "reused_tokens", 0),
)


def variant_name(variant: dict[str, Any]) -> str:
    """The variant in a few words."""
    fields = variant["job"]["variant"]
    name = source_name(fields["path"], fields.get("model"))
    precision = "" if variant["precision"] == "unknown" else f" {variant['precision']}"
    parts = [f"{name}{precision}", fields["mode"]]
    if fields["threads"]:
        parts.append(f"{fields['threads']} thr")
    if fields["max_pixels"]:
        parts.append(f"{fields['max_pixels']:,} px")
    return ", ".join(parts)


def run_html(run: dict[str, Any]) -> str:
    """The page of one run."""
    variants = run["variants"]
    body: list[str] = [
        cards([*_headlines(variants), *_joules(variants)]),
        *_busy(run),
        heading("One question"),
        _bars(variants),
        _figure_table(variants),
        heading("By turn and phase"),
    ]
    for number, variant in enumerate(variants):
        unfolded = number == 0 or bool(variant["sustained"])
        body.append(details(variant_name(variant), _variant(variant), unfolded=unfolded))
    if run["limits"]:
        body += [heading("Limits of this machine"), _limits(run)]
    body += [heading("How it was measured"), _provenance(run), *_notes(variants)]
    machine = run["machine"]
    subtitle = f"{machine['board'] or machine['cpu']}, {machine['cores']} cores, {run['started']}"
    fields = [variant["job"]["variant"] for variant in variants]
    names = list(dict.fromkeys(source_name(f["path"], f.get("model")) for f in fields))
    return page(f"Profile: {', '.join(names)}", subtitle, body)


def _headlines(variants: Sequence[dict[str, Any]]) -> list[tuple[object, str]]:
    """The first variant in awares mode (or whatever there is), and its gain over the reference."""

    def p50(variant: dict[str, Any]) -> float:
        return float(variant["summary"]["figures"]["total_ms"]["p50"])

    def of_mode(mode: str) -> list[dict[str, Any]]:
        return [v for v in variants if v["job"]["variant"]["mode"] == mode]

    first = (of_mode("awares") or list(variants))[0]
    items: list[tuple[object, str]] = [(f"{p50(first):.3g} ms", f"median, {variant_name(first)}")]
    same = [
        v
        for v in of_mode("reference")
        if v is not first
        and all(
            v["job"]["variant"][key] == first["job"]["variant"][key]
            for key in ("threads", "max_pixels")
        )
    ]
    if same:
        items.append((f"{p50(same[0]) / p50(first):.2f} ×", "as fast as two generate calls"))
    if tpot := first["summary"]["figures"]["tokens_per_s"]:
        items.append((f"{tpot['p50']:,.0f}", "tokens a second while answering"))
    if peak := first["memory"]["peak"]:
        items.append((f"{peak / 1e6:.0f} MB", "peak memory of the process"))
    return items


def _joules(variants: Sequence[dict[str, Any]]) -> list[tuple[object, str]]:
    found = [
        (v["energy"]["per_question"], variant_name(v))
        for v in variants
        if v["energy"].get("per_question") is not None
    ]
    if not found:
        return []
    joules, name = min(found)
    return [(f"{joules:.3g} J", f"a question, {name}")]


def _busy(run: dict[str, Any]) -> list[Raw]:
    load, cores = run["load_average"]["after"], run["machine"]["cores"]
    if load is None or load <= cores:
        return []
    warning = f"Other work ran beside this: load {load:g} on {cores} cores. Do not trust the times."
    return [paragraph(verdict(False, warning))]


def _bars(variants: Sequence[dict[str, Any]]) -> Raw:
    """Means, because they add up; the table beside has quantiles."""
    rows = []
    for variant in variants:
        parts = dict.fromkeys(_GROUPS, 0.0)
        for phase in variant["summary"]["phases"]:
            parts[_GROUP_OF.get(phase["phase"], phase["phase"])] += phase["mean"]
        totals = [row["total_ms"] for row in variant["rows"]]
        parts["rest"] = max(0.0, sum(totals) / len(totals) - sum(parts.values()))
        rows.append((variant_name(variant), list(parts.values())))
    caption = (
        "Mean milliseconds of a question by phase. For transformers' generate, prefill includes "
        "the vision tower. For endpoints, the rest is the network and what is not reported."
    )
    return figure(stacked_bars(rows, "ms", _GROUPS), caption, _GROUPS)


def _figure_table(variants: Sequence[dict[str, Any]]) -> Raw:
    metered = any(v["energy"]["source"] for v in variants)
    titles = (
        "variant", "p50 ms", "p90", "p99", *(title for title, _, _ in _COLUMNS),
        "load ms", "peak MB", "anonymous MB", *(("joules",) if metered else ()),
    )  # fmt: skip
    rows = []
    for variant in variants:
        found, memory = variant["summary"]["figures"], variant["memory"]
        total = found["total_ms"]
        rows.append(
            (
                variant_name(variant), *(f"{total[q]:.2f}" for q in ("p50", "p90", "p99")),
                *(_p50(found[name], digits) for _, name, digits in _COLUMNS),
                _rounded(variant["load_ms"]), megabytes(memory["peak"]),
                megabytes(memory["anonymous"]),
                *((_number(variant["energy"].get("per_question")),) if metered else ()),
            )
        )  # fmt: skip
    return table(titles, rows, style="wide")


def _variant(variant: dict[str, Any]) -> list[Raw]:
    summary = variant["summary"]
    remote = "server" in variant
    rows = [
        (
            f"{phase['turn']}: {phase['phase']}", f"{phase['p50']:.3f}", f"{phase['p90']:.3f}",
            f"{phase['p99']:.3f}",
            phase.get("source", "here") if remote else _share(phase["share_of_limit"]),
        )
        for phase in [*summary.get("turns", []), *summary["phases"]]
    ]  # fmt: skip
    titles = ("turn: phase", "p50 ms", "p90", "p99", "measured" if remote else "of the limit")
    parts = [table(titles, rows)]
    if variant["job"]["free"]:
        parts.append(paragraph(f"{summary['calls']:.0%} of the questions zoomed.", "quiet"))
    if sustained := summary["sustained"]:
        parts += _sustained(variant["sustained"], sustained)
    return parts


def _sustained(samples: Sequence[dict[str, Any]], found: dict[str, Any]) -> list[Raw]:
    step = max(1, len(samples) // _MAX_POINTS)
    shown = samples[::step]
    parts = [
        figure(
            lines([("ms", [(s["at_s"], s["total_ms"]) for s in shown])], "seconds", "ms"),
            f"Sustained: {found['questions']} questions in {found['seconds']:.0f} s; "
            f"{found['first_ms']:.3g} ms in the first tenth of the time, {found['last_ms']:.3g} ms "
            "in the last.",
        )
    ]
    if found["celsius"]:
        heat = [(s["at_s"], s["celsius"]) for s in shown if s["celsius"] is not None]
        throttled = found["throttled"]
        said = "not reported" if throttled is None else f"{throttled} times"
        caption = f"Hottest thermal zone in °C; throttled: {said}."
        parts.append(figure(lines([("°C", heat)], "seconds", "°C"), caption))
    else:
        parts.append(paragraph("This machine reports no temperature.", "quiet"))
    return parts


def _limits(run: dict[str, Any]) -> Raw:
    rows = [
        (
            threads, f"{found['fp32_flops'] / 1e9:.1f}",
            f"{found['int8_ops'] / 1e9:.1f}" if "int8_ops" in found else "",
            f"{found['read_bytes_s'] / 1e9:.2f}",
        )
        for threads, found in run["limits"].items()
    ]  # fmt: skip
    return table(("threads", "fp32 GFLOP/s", "int8 GOP/s", "memory GB/s"), rows)


def _provenance(run: dict[str, Any]) -> Raw:
    machine, job = run["machine"], run["variants"][0]["job"]
    source, load = run["variants"][0]["energy"], run["load_average"]
    pinned = {str(v["job"]["cpus"]) for v in run["variants"] if v["job"]["cpus"]}
    return facts(
        [
            ("machine", machine["board"]),
            ("processor", f"{machine['cpu']} ({machine['architecture']})"),
            ("memory", f"{machine['memory_mb']} MB" if machine["memory_mb"] else None),
            ("system", machine["system"]),
            ("power mode", machine["power_mode"] or "not reported"),
            ("CPU governor", machine["governor"] or "not reported"),
            ("pinned to processors", "; ".join(sorted(pinned)) or "none"),
            ("load average", f"{load['before']} before, {load['after']} after"),
            ("energy", source["source"] or source["reason"]),
            (
                "pictures",
                f"uniform noise, {job['side']} × {job['side']} pixels, seed {job['seed']}",
            ),
            (
                "questions",
                f"{job['iterations']} a variant, after {job['warmup']} that do not count",
            ),
            ("replies", _replies(job)),
            *map(endpoint_fact, one_of_each_endpoint(run["variants"])),
            ("versions", ", ".join(f"{k} {v}" for k, v in run["versions"].items())),
        ]
    )


def _replies(job: dict[str, Any]) -> str:
    if job["free"]:
        return "the model's own"
    return f"scripted: crops {', '.join(job['crops'])}, answers of {job['answer_tokens']} tokens"


_NOTES = (
    """Each variant ran in a process of its own. Every question was a new noise picture and a new
    order of words. First token is the model's first one, which may begin a call; TTFT is the first
    text of the answer; TPOT is the time of each further token of the answer; RTR is visual tokens
    over those of the whole picture; reused are tokens whose KV was there, summed over turns. Joules
    are of all that the sensor covers, idle power included.""",
    """The share of the limit is the arithmetic that a phase needs at least, per second, over the
    machine's own matrix products (int8 where the precision uses them), and for decoding the weights
    read, per second, over its memory bandwidth. Weights that fit into caches can exceed 100%.""",
)


def _notes(variants: Sequence[dict[str, Any]]) -> list[Raw]:
    notes = (*_NOTES, *([ENDPOINT_NOTE] if one_of_each_endpoint(variants) else []))
    return [paragraph(" ".join(note.split()), "quiet") for note in notes]


def _p50(quantiles: dict[str, float] | None, digits: int = 2) -> str:
    return "" if quantiles is None else f"{quantiles['p50']:.{digits}f}"


def megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:.0f}"


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
