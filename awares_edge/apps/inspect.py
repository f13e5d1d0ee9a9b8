"""`awares-edge inspect`: verify a bundle and show what is inside."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from awares_edge.api import embedded_bundle
from awares_edge.apps.console import cell, out, print_json, say, verify_progress
from awares_edge.apps.options import JsonOption
from awares_edge.bundle.manifest import FORMAT_VERSION, Manifest
from awares_edge.bundle.store import Bundle

_SHOWN = 5

EPILOG = """
Examples:

    awares-edge inspect my-bundle

    awares-edge inspect --json | jq .protocol_sha256
"""


def inspect(
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle folder. Default: the embedded nano model.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Verify every hash of a bundle and print what is inside."""
    root = bundle or embedded_bundle()
    with verify_progress() as progress:
        opened = Bundle.open(root, progress=progress)
    manifest, unlisted = opened.manifest, opened.unlisted()
    if json:
        extra = {
            "format_version": FORMAT_VERSION,
            "protocol_sha256": manifest.protocol_sha256,
            "unlisted": unlisted,
        }
        print_json({**asdict(manifest), **extra, "verified": True})
        return
    out.print(_summary(root, manifest))
    out.print(_files(manifest))
    say(f"all {len(manifest.files)} listed files verified", style="green")
    if unlisted:
        names = ", ".join(map(repr, unlisted[:_SHOWN])) + (", ..." if unlisted[_SHOWN:] else "")
        say(f"{len(unlisted)} more in the folder are not listed and are never read: {names}")


def _summary(root: Path, manifest: Manifest) -> Table:
    model, vision, protocol = manifest.model, manifest.model.vision, manifest.protocol
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows = {
        "bundle": str(root),
        "model": f"{model.name} ({model.license or 'licence not stated'})",
        "made for": f"{manifest.runtime}, {manifest.precision}",
        "text": f"{model.layers} layers, hidden {model.hidden_size}, {model.heads} heads "
        f"({model.kv_heads} for keys), vocabulary {model.vocabulary}, context {model.context}",
        "vision": f"{vision.depth} blocks, hidden {vision.hidden_size}, patch {vision.patch_size}, "
        f"window {vision.window_size} px",
        "protocol": f"{protocol.name}: {protocol.first_view.rule} view first, "
        f"{protocol.min_pixels}-{protocol.max_pixels} pixels",
        "calls": f"at most {protocol.limits.max_calls}, such as "
        f"{' '.join(protocol.call.examples()[0].split())}",
        "protocol hash": manifest.protocol_sha256,
        **_calibration(manifest),
    }
    # Not one mapping: provenance must not replace a row of ours.
    for name, value in (*rows.items(), *manifest.provenance.items()):
        table.add_row(cell(name), cell(value))
    return table


def _calibration(manifest: Manifest) -> dict[str, str]:
    fitted = manifest.calibration
    rows = {}
    if fitted and fitted.decision_goal:
        rows["decision bias"] = (
            f"{fitted.decision_bias:+.3f}, fitted to {fitted.decision_goal} "
            f"on {fitted.decision_questions:,} questions"
        )
    if fitted and fitted.confidence_questions:
        rows["temperatures"] = (
            f"text {fitted.text_temperature:.2f}, yes/no, counts and colours "
            f"{fitted.closed_temperature:.2f}, fitted on {fitted.confidence_questions:,} questions"
        )
    return rows


def _files(manifest: Manifest) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("file")
    table.add_column("MB", justify="right")
    table.add_column("sha256")
    for name, entry in manifest.files.items():
        table.add_row(cell(name), f"{entry.bytes / 1e6:.2f}", cell(f"{entry.sha256[:16]}…"))
    return table
