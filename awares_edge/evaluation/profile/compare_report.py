"""Two runs compared, as a page for people."""

from __future__ import annotations

from typing import Any

from awares_edge.evaluation.page import (
    Raw,
    details,
    heading,
    page,
    paragraph,
    table,
    verdict,
)
from awares_edge.evaluation.profile.report import megabytes


def comparison_html(result: dict[str, Any]) -> str:
    """The page of two runs."""
    old, new = result["started"]
    body: list[str] = []
    differs = {**result["machine_differs"], **result["versions_differ"]}
    if differs:
        rows = [(name, *map(_reported, values)) for name, values in differs.items()]
        body += [heading("What differs beside the code"), table(("", "old", "new"), rows, 3)]
    for variant in result["variants"]:
        changes = [
            (
                change["what"], f"{change['old_p50']:.3f}", f"{change['new_p50']:.3f}",
                _ratio(change),
            )
            for change in variant["changes"]
        ]  # fmt: skip
        name = ", ".join(
            part for part in (variant["name"], variant["mode"], variant["device"]) if part
        )
        threads = f", threads {variant['threads']}" if variant["threads"] else ""
        peaks = [megabytes(value) or "not measured" for value in variant["peak_memory"]]
        body += [
            heading(name + threads),
            table(("p50 ms", "old", "new", "new / old"), changes),
            paragraph(f"Peak memory in MB: {peaks[0]}, now {peaks[1]}.", "quiet"),
        ]
    note = "In colour: medians outside the other run's range from p50 to p90."
    body.append(details("How to read this", [paragraph(note)]))
    return page("Profile: two runs compared", f"{old} and {new}", body)


def _ratio(change: dict[str, Any]) -> Raw | str:
    shown = f"{change['ratio']:.3f}"
    return verdict(change["ratio"] < 1, shown) if change["beyond_spread"] else shown


def _reported(value: object) -> str:
    return "not reported" if value is None else str(value)
