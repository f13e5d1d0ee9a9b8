"""`awares-edge runtimes`: what is usable here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.table import Table

from awares_edge.apps.console import out, print_json
from awares_edge.apps.options import JsonOption
from awares_edge.runtimes.registry import RUNTIMES, Entry

EPILOG = """
Examples:

    awares-edge runtimes

    awares-edge runtimes --json

The first device of a runtime is the one that is taken where none is named.
"""

# Distributions whose modules have another name; the first one that is installed counts.
_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "llama_cpp": ("llama-cpp-python",),
}


def runtimes(json: JsonOption = False) -> None:
    """Say which runtimes and devices are usable here, and how to install the others."""
    rows = [_row(entry) for entry in RUNTIMES.values()]
    if json:
        print_json(rows)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("runtime", "usable", "devices", "what it is"):
        table.add_column(name, overflow="fold")
    for row in rows:
        usable = "[green]yes[/]" if row["usable"] else "[yellow]no[/]"
        table.add_row(row["name"], usable, ", ".join(row["devices"]), row["summary"])
    out.print(table)
    for row in rows:
        if not row["usable"]:
            missing = ", ".join(row["missing"])
            print(f"{row['name']} needs {missing}: {row['install']}")


def _row(entry: Entry) -> dict[str, Any]:
    usable = not entry.missing
    return {
        "name": entry.name,
        "usable": usable,
        "devices": list(entry.backend.usable_devices()) if usable else [],
        "versions": {m: _version(m) for m in entry.needs if m not in entry.missing},
        "missing": list(entry.missing),
        "install": None if usable else entry.install,
        "reads": entry.reads,
        "summary": entry.summary,
    }


def _version(module: str) -> str:
    for distribution in _DISTRIBUTIONS.get(module, (module,)):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"
