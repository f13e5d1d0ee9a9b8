"""`awares-edge export`: a checkpoint becomes a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from awares_edge.apps.console import print_json, progress_bar, say
from awares_edge.apps.format_options import describe_precisions, read_format, with_format_options
from awares_edge.apps.options import (
    AdapterRevisionOption,
    CheckpointArgument,
    JsonOption,
    RevisionOption,
    TrainedProtocol,
    check_adapter,
    find,
    find_adapter,
    noting,
    trained_profile,
)
from awares_edge.bundle.store import Bundle
from awares_edge.errors import InputError
from awares_edge.export.exporter import export_checkpoint
from awares_edge.export.registry import FormatName

EPILOG = f"""
Examples:

    awares-edge export Kimhi/AWARES-Qwen2.5-VL-7B -o awares-7b --precision fp16

    awares-edge export ./Qwen2.5-VL-3B -o awares-3b --adapter ./my-lora --protocol paper

    awares-edge export ./AWARES-Qwen2.5-VL-7B -o awares-q4 --format gguf --precision q4_k_m

    awares-edge export ./AWARES-3B -o nano --format tensorrt --target orin-nano --precision int8

{describe_precisions()}

A TensorRT target takes some of its precisions; GGUF's vision tower is never stored below f16.
"""


@with_format_options
def export(
    checkpoint: CheckpointArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Bundle folder to write.")],
    format: Annotated[FormatName, typer.Option(help="What to export to.")] = "onnx",
    precision: Annotated[
        str | None, typer.Option(help="Of the weights; see below. Default: the format's first.")
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(help="LoRA adapter (PEFT) to merge on the way: a folder, or OWNER/NAME."),
    ] = None,
    revision: RevisionOption = None,
    adapter_revision: AdapterRevisionOption = None,
    protocol: TrainedProtocol = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing bundle.")
    ] = False,
    json: JsonOption = False,
    **settings: Any,
) -> None:
    """Export a checkpoint to a bundle that a device runs without torch."""
    chosen = read_format(format, precision, settings)
    chosen.require()
    if os.path.lexists(output) and not overwrite:
        raise InputError(f"{output} exists: choose another folder or pass --overwrite")
    check_adapter(adapter, adapter_revision)
    source = find(checkpoint, revision)
    added = find_adapter(adapter, adapter_revision)
    profile, choice = trained_profile(checkpoint, protocol)
    with progress_bar() as progress:
        bundle = export_checkpoint(
            source,
            output,
            format=chosen,
            adapter=added,
            profile=profile,
            progress=noting(choice, progress),
            overwrite=overwrite,
        )
    _print(bundle, format, json)


def _print(bundle: Bundle, format: str, json: bool) -> None:
    precision = bundle.manifest.precision
    size = sum(file.bytes for file in bundle.manifest.files.values())
    if json:
        print_json(
            {"bundle": str(bundle.root), "bytes": size, "format": format, "precision": precision}
        )
        return
    say(f"{bundle.root}: {format}, {precision}, {size / 1e6:.1f} MB")
    if ms := bundle.manifest.provenance.get("estimated_ms"):
        say(f"a two-turn question takes {ms} ms (estimated from --times)")
