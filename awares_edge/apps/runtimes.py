"""`awares-edge runtimes`: what is usable here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from rich.table import Table

from awares_edge.apps.console import cell, out, print_json, progress_bar, say
from awares_edge.apps.device_check import FAIL, PASS, check_device
from awares_edge.apps.options import JsonOption
from awares_edge.runtimes.registry import RUNTIMES, Entry

EPILOG = """
Examples:

    awares-edge runtimes

    awares-edge runtimes --check

The first device of a runtime is the one that is taken where none is named. That a device is listed
says what the installed libraries were compiled for and found; --check runs one inference on each,
in a process of its own: the embedded model's known answers on onnx, a tiny random model on torch
and llamacpp. Exit code 1 where one of them fails.
"""

# Distributions whose modules have another name; the first one that is installed counts.
_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "llama_cpp": ("llama-cpp-python",),
}


def runtimes(
    check: Annotated[
        bool, typer.Option("--check", help="Run one inference on each device, and say how it went.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Say which runtimes and devices are usable here, and how to install the others."""
    rows = [_row(entry) for entry in RUNTIMES.values()]
    if check:
        _check(rows)
    if json:
        print_json(rows)
    else:
        _print(rows, check)
    if any(found["result"] == FAIL for row in rows for found in row.get("checks", [])):
        raise typer.Exit(1)


def _check(rows: list[dict[str, Any]]) -> None:
    """Add to each row its devices' `checks`."""
    devices = [(row, device) for row in rows for device in row["devices"]]
    with progress_bar() as update:
        for done, (row, device) in enumerate(devices):
            update("checking devices", done, len(devices))
            found = {"device": device, **check_device(row["name"], device)}
            row.setdefault("checks", []).append(found)


def _print(rows: list[dict[str, Any]], check: bool) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("runtime", "usable", "devices", "what it is"):
        table.add_column(name, overflow="fold")
    for row in rows:
        usable = "[green]yes[/]" if row["usable"] else "[yellow]no[/]"
        table.add_row(row["name"], usable, ", ".join(row["devices"]), row["summary"])
    out.print(table)
    for row in rows:
        if row["missing"]:
            missing = ", ".join(row["missing"])
            print(f"{row['name']} needs {missing}: {row['install']}")
        elif row["error"]:
            say(f"{row['name']} does not load: {row['error']}")
    if check:
        _print_checks(rows)


def _print_checks(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("runtime", "device", "one inference"):
        table.add_column(name, overflow="fold")
    for row in rows:
        for found in row.get("checks", []):
            table.add_row(row["name"], found["device"], _describe(found))
    out.print()
    out.print(table)


def _describe(found: dict[str, Any]) -> Any:
    result, style = found["result"], "red" if found["result"] == FAIL else "yellow"
    if result == PASS:
        return cell(f"pass ({found['seconds']:.1f} s)", "green")
    return cell(f"{result}: {found['reason']}", style)


def _row(entry: Entry) -> dict[str, Any]:
    devices, error = _devices(entry)
    return {
        "name": entry.name,
        "usable": not entry.missing and error is None,
        "devices": devices,
        "error": error,
        "versions": {m: _version(m) for m in entry.needs if m not in entry.missing},
        "missing": list(entry.missing),
        "install": entry.install if entry.missing else None,
        "reads": entry.reads,
        "summary": entry.summary,
    }


def _devices(entry: Entry) -> tuple[list[str], str | None]:
    """Devices, or why the installed packages do not load: another CUDA's libraries, for example."""
    if entry.missing:
        return [], None
    try:
        return list(entry.backend.usable_devices()), None
    except Exception as error:  # a broken package may raise anything on import
        return [], " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _version(module: str) -> str:
    for distribution in _DISTRIBUTIONS.get(module, (module,)):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"
