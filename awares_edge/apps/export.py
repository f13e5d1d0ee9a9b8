"""`awares-edge export`: a checkpoint becomes a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from awares_edge.apps.console import print_json, progress_bar, say
from awares_edge.apps.options import JsonOption
from awares_edge.bundle.store import Bundle
from awares_edge.errors import InputError
from awares_edge.export.facade import FORMATS, export_checkpoint
from awares_edge.protocol.profiles import get_profile

EPILOG = """
Examples:

    awares-edge export ./AWARES-Qwen2.5-VL-7B -o awares-7b --precision fp16

    awares-edge export ./Qwen2.5-VL-3B -o awares-3b --adapter ./my-lora --protocol paper

    awares-edge export ./AWARES-Qwen2.5-VL-7B -o awares-q4 --format gguf --precision q4_k_m

    awares-edge export ./AWARES-Qwen2.5-VL-3B -o awares-nano --format tensorrt --target orin-nano \
        --precision int8

Precisions of onnx: fp32, fp16. Of tensorrt: fp16, fp32, bf16, int8, int4, w8a8, fp8, as the target
takes them.
Of gguf: f16, bf16, f32, q8_0, q6_k, q5_k_m, q4_k_m, q4_0, iq4_xs and others that a wrong name
lists; the vision tower is never stored below f16.
"""


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="Hugging Face Qwen2.5-VL checkpoint folder (safetensors).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Bundle folder to write.")],
    format: Annotated[str, typer.Option(help=f"What to export to: {', '.join(FORMATS)}.")] = "onnx",
    precision: Annotated[
        str | None,
        typer.Option(help="Of the weights. Default: the format's first, see below."),
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="LoRA adapter folder (PEFT) to merge on the way.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="Profile the model was trained with: a name that `awares-edge protocols` lists, "
            "or a .toml or .json file."
        ),
    ] = "paper",
    importance: Annotated[
        Path | None,
        typer.Option(help="gguf: importance matrix that `awares-edge importance` measured."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="tensorrt: the device it is for (orin-nano, rtx40, h100, ...)."),
    ] = None,
    cache_length: Annotated[
        int | None, typer.Option(help="tensorrt: KV cells of a session, in place of the target's.")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(help="tensorrt: GiB of this device, where it has more than its family's."),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(help="tensorrt: measured input ranges, for w8a8 and fp8."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is there.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Export a checkpoint to a bundle that a device runs without torch."""
    profile = get_profile(protocol)
    if os.path.lexists(output) and not overwrite:
        raise InputError(f"{output} exists: choose another folder or pass --overwrite")
    if importance and format != "gguf":
        raise InputError(f"--importance is for --format gguf, not for {format}: leave it out")
    options: dict[str, Any] = {"importance": importance} if importance else {}
    device = {
        **{"target": target, "cache_length": cache_length},
        **{"memory_gib": memory, "ranges": ranges},
    }
    if given := {name: value for name, value in device.items() if value is not None}:
        if format != "tensorrt":
            raise InputError(
                "--target, --cache-length, --memory and --ranges are for --format tensorrt, not "
                f"for {format}"
            )
        options |= given
    with progress_bar() as progress:
        path = export_checkpoint(
            checkpoint,
            output,
            format=format,
            precision=precision,
            adapter=adapter,
            profile=profile,
            progress=progress,
            overwrite=overwrite,
            options=options,
        )
    precision = Bundle.open(path, verify=False).manifest.precision
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if json:
        print_json({"bundle": str(path), "bytes": size, "format": format, "precision": precision})
        return
    say(f"{path}: {format}, {precision}, {size / 1e6:.1f} MB")
