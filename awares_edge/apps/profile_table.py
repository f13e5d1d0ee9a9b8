"""What `awares-edge profile` prints to a terminal."""

from __future__ import annotations

from typing import Any

from awares_edge.apps.console import say, warn
from awares_edge.evaluation.profile.endpoint_report import one_of_each_endpoint
from awares_edge.evaluation.profile.report import variant_name


def print_run(run: dict[str, Any]) -> None:
    """A run: machine, limits, one line a variant, then each by turn and phase."""
    machine = run["machine"]
    name = machine["board"] or machine["cpu"]
    say(f"{name}, {machine['cores']} cores, {machine['architecture']}")
    mode, governor = machine["power_mode"], machine["governor"]
    say(f"power mode {mode or 'not reported'}, CPU governor {governor or 'not reported'}")
    for threads, limits in run["limits"].items():
        say(f"limits, threads {threads}: {_limits(limits)}")
    metered = any(variant["energy"]["source"] for variant in run["variants"])
    titles = (*_TITLES, "J") if metered else _TITLES
    _print_table([titles, *(_figures(variant, metered) for variant in run["variants"])])
    for variant in run["variants"]:
        say(variant_name(variant), style="bold")
        _print_phases(variant["summary"])
        if variant["job"]["free"]:
            say(f"  zoomed: {variant['summary']['calls']:.0%} of the questions")
        if sustained := variant["summary"]["sustained"]:
            say(f"  sustained: {_sustained(sustained)}")
    energies = [variant["energy"] for variant in run["variants"]]
    for reason in dict.fromkeys(e["reason"] for e in energies if not e["source"]):
        say(f"no joules: {reason}")
    if one_of_each_endpoint(run["variants"]):
        say("endpoints: blank is not measured from here; (server) is what the server reports")
    load = run["load_average"]["after"]
    if load is not None and load > machine["cores"]:
        cores = machine["cores"]
        warn(f"other work ran beside this (load {load:g}, {cores} cores): do not trust the times")


_TITLES = (
    "",
    "p50 ms",
    "p90",
    "p99",
    "CPU",
    "TTFT",
    "TPOT",
    "tok/s",
    "RTR",
    "reused",
    "peak MB",
)


def _figures(variant: dict[str, Any], metered: bool) -> tuple[str, ...]:
    figures, memory = variant["summary"]["figures"], variant["memory"]
    total = figures["total_ms"]
    peak, joules = memory["peak"], variant["energy"].get("per_question")
    return (
        variant_name(variant),
        *(f"{total[name]:.1f}" for name in ("p50", "p90", "p99")),
        _median(figures["cpu_ms"], 1),
        _median(figures["ttft_ms"], 1),
        _median(figures["tpot_ms"], 2),
        _median(figures["tokens_per_s"], 1),
        _median(figures["rtr"], 2),
        _median(figures["reused_tokens"], 0),
        "" if peak is None else f"{peak / 1e6:.0f}",
        *(("" if joules is None else f"{joules:.3g}",) if metered else ()),
    )


def _print_phases(summary: dict[str, Any]) -> None:
    for phase in [*summary.get("turns", []), *summary["phases"]]:
        share = phase.get("share_of_limit")
        reached = "" if share is None else f"  {share:.0%} of the limit"
        if phase.get("source") == "server":
            reached = "  (server)"
        name = f"{phase['turn']}: {phase['phase']}"
        say(f"  {name:22}{phase['p50']:9.2f}{phase['p90']:9.2f}{phase['p99']:9.2f} ms{reached}")


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """Never cut: not rich's table, which takes digits away to fit."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        say(" ".join([row[0].ljust(widths[0]), *cells]).rstrip())


def _median(quantiles: dict[str, float] | None, digits: int) -> str:
    return "" if quantiles is None else f"{quantiles['p50']:.{digits}f}"


def _limits(limits: dict[str, float]) -> str:
    parts = [f"fp32 {limits['fp32_flops'] / 1e9:.0f} GFLOP/s"]
    if "int8_ops" in limits:
        parts.append(f"int8 {limits['int8_ops'] / 1e9:.0f} GOP/s")
    return ", ".join([*parts, f"memory {limits['read_bytes_s'] / 1e9:.1f} GB/s"])


def _sustained(found: dict[str, Any]) -> str:
    parts = [
        f"{found['questions']} questions in {found['seconds']:.0f} s",
        f"{found['first_ms']:.1f} ms at first, {found['last_ms']:.1f} ms at last",
    ]
    if heat := found["celsius"]:
        parts.append(f"{heat['first']:.0f} to {heat['max']:.0f} °C")
    if found["throttled"] is not None:
        parts.append(f"throttled {found['throttled']} times")
    return ", ".join(parts)


def print_comparison(result: dict[str, Any]) -> None:
    """Two runs: what differs beside the code, then each figure of both."""
    for name, (old, new) in {**result["machine_differs"], **result["versions_differ"]}.items():
        warn(f"{name} differs: {old} and {new}")
    rows: list[tuple[str, ...]] = [("", "old p50", "new p50", "new/old", "")]
    for variant in result["variants"]:
        name = f"{variant['name']}, {variant['mode']}"
        rows += [
            (
                f"{name}, {change['what']}", f"{change['old_p50']:.2f}", f"{change['new_p50']:.2f}",
                f"{change['ratio']:.2f}", "" if change["beyond_spread"] else "within the spread",
            )
            for change in variant["changes"]
        ]  # fmt: skip
    _print_table(rows)
