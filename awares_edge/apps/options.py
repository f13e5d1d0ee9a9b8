"""Command-line options that several commands share, and the model they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from awares_edge.api import load
from awares_edge.apps.console import verify_progress
from awares_edge.controller.model import Model
from awares_edge.errors import InputError
from awares_edge.runtimes.threads import check_threads


def _threads(count: int | None) -> int | None:
    """Refused here, the option is named, and nothing has been loaded yet."""
    try:
        check_threads(count)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    return count


BundleOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        "-b",
        help="Bundle folder (or, with --runtime torch, a checkpoint folder). "
        "Default: the embedded nano model.",
    ),
]
RuntimeOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--runtime", "-r", help="Runtime. Default: the one the bundle is made for."),
]
ProtocolOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Protocol profile in place of the bundle's own: a name that `awares-edge protocols` "
        "lists, or a .toml or .json file."
    ),
]
DeviceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Where to compute: cpu, cuda, cuda:1, ... Default: the first that "
        "`awares-edge runtimes` lists."
    ),
]
ThreadsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        callback=_threads,
        help="CPU threads, 4 a core at most. Default: one for each core that this process may use.",
    ),
]
ContextOption: TypeAlias = Annotated[
    int | None,
    typer.Option(min=64, help="Most text and visual tokens of a conversation."),
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else.")
]


def load_model(
    bundle: Path | None,
    runtime: str | None,
    protocol: str | None,
    device: str | None,
    threads: int | None,
    context: int | None,
) -> Model:
    """The model that the options describe, with a progress bar where its files are large."""
    with verify_progress() as progress:
        return load(
            bundle,
            runtime=runtime,
            protocol=protocol,
            device=device,
            threads=threads,
            context=context,
            progress=progress,
        )
