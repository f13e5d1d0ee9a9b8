"""`awares-edge build-engine`: build the engines of a TensorRT bundle on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from awares_edge.apps.console import note, print_json, progress_bar, say, verify_progress
from awares_edge.apps.options import JsonOption
from awares_edge.bundle.store import Bundle
from awares_edge.errors import BundleError, InputError

EPILOG = """
Examples:

    awares-edge build-engine awares-nano

    awares-edge build-engine awares-rtx --ahead-for 89

Engines depend on the TensorRT version and the GPU: run this on the device, and again after an
update. With TensorRT-RTX, --ahead-for builds on a machine without a GPU.
"""


def build_engine(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder of --format tensorrt.")],
    engines: Annotated[
        Path | None,
        typer.Option(help="Folder to keep engines in. Default: ~/.cache/awares-edge/engines."),
    ] = None,
    ahead_for: Annotated[
        str | None,
        typer.Option(help="TensorRT-RTX: build without a GPU for this SM: 86, 89, 120, ..."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build even if they exist.")] = False,
    json: JsonOption = False,
) -> None:
    """Build the engines of a TensorRT bundle, unless they exist already."""
    capability = None if ahead_for is None else _capability(ahead_for)
    with verify_progress() as progress:
        opened = Bundle.open(bundle, progress=progress)
    if opened.manifest.runtime != "tensorrt":
        raise BundleError(
            f"{bundle} is a bundle for {opened.manifest.runtime}: export the checkpoint with "
            "--format tensorrt"
        )
    from awares_edge.runtimes.tensorrt import Plan, build_engines

    if (needs := Plan.read(opened).describe_memory()) and not json:
        note(f"{bundle}: {needs}", style=None)
    with progress_bar() as progress:
        built = build_engines(
            opened, engines=engines, ahead_for=capability, force=force, progress=progress
        )
    if json:
        print_json(
            {
                "folder": str(built.folder),
                "bytes": built.sizes,
                "built": built.fresh,
                "product": built.key.product,
                "version": built.key.version,
                "capability": built.key.capability,
                "warnings": list(built.warnings),
            }
        )
        return
    sizes = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in built.sizes.items())
    state = "built" if built.fresh else "up to date"
    say(f"{built.folder}: {state}, {sizes}")


def _capability(text: str) -> int:
    """86 from "86", "8.6", "sm86" or "sm_86"."""
    digits = text.lower().removeprefix("sm").lstrip("_").replace(".", "")
    if not digits.isdecimal() or not 70 <= int(digits) <= 999:
        raise InputError(f"no compute capability {text!r}: give it as 86 for SM 8.6")
    return int(digits)
