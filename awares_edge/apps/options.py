"""Command-line options that several commands share, and the model they describe."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from awares_edge.api import load
from awares_edge.apps.console import err, note, verify_progress
from awares_edge.bundle.store import Progress
from awares_edge.checkpoint.source import Source, find_source
from awares_edge.controller.askable import Askable
from awares_edge.controller.model import Model
from awares_edge.errors import InputError
from awares_edge.protocol import ProtocolProfile, get_profile
from awares_edge.protocol.profiles import DEFAULT_PROFILE, published_profile
from awares_edge.remote.key import KEY_VARIABLE
from awares_edge.runtimes.threads import check_threads
from awares_edge.vision.limits import FORMAT_NAMES


def _threads(count: int | None) -> int | None:
    """Refused here, the option is named, and nothing has been loaded yet."""
    try:
        check_threads(count)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    return count


def _profile(name: str | None) -> str | None:
    """Refused here, before a checkpoint is downloaded."""
    try:
        if name is not None:
            get_profile(name)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    return name


class ModeName(str, Enum):
    """Names for `--mode`."""

    awares = "awares"
    progressive = "progressive"
    full = "full"
    low = "low"


PictureArgument: TypeAlias = Annotated[Path, typer.Argument(help=f"Picture: {FORMAT_NAMES}.")]
ModeOption: TypeAlias = Annotated[
    ModeName,
    typer.Option(
        help="awares: as the model's protocol says; progressive: crops within crops; or a "
        "baseline: full (whole picture at once), low (never zoom)."
    ),
]
MaxNewTokensOption: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Most tokens of one turn. Default: as the protocol says."),
]
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
        help="Protocol profile instead of the bundle's own: a name that `awares-edge protocols` "
        "lists, or a .toml or .json file."
    ),
]
CheckpointArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="Hugging Face Qwen2.5-VL checkpoint (safetensors): a folder, or OWNER/NAME on the hub."
    ),
]
AdapterRevisionOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of an adapter on the hub.")
]
HtmlOption: TypeAlias = Annotated[
    Path | None, typer.Option("--html", help="Write a self-contained report to this file.")
]
RevisionOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a checkpoint on the hub.")
]
TrainedProtocol: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        callback=_profile,
        help="Profile the model was trained with: a name that `awares-edge protocols` lists, or a "
        ".toml or .json file. Default: the one of a published checkpoint, else paper.",
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
EndpointUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Ask a model on an OpenAI-compatible server, up to /v1, instead of one on this "
        f"machine. Its key is taken from {KEY_VARIABLE}.",
    ),
]
EndpointModel: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Name of the model on --endpoint. Default: its only one.",
    ),
]
DecisionBiasOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Above 0 the model zooms more often, below 0 less often. "
        "Default: the bundle's calibrated bias."
    ),
]
AbstainOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="CONFIDENCE",
        help='Answer "unsure" where the confidence is below this, 0 to 1.',
    ),
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else.")
]


def refuse(why: str, **options: Any) -> None:
    """Refuse options that would be ignored.

    Raises:
        InputError: one was given.
    """
    for name, value in options.items():
        # 0 is a value: an option that was not given is None, False or empty.
        if value is not None and value is not False and value != []:
            raise InputError(f"--{name.replace('_', '-')} {why}")


def find(place: str, revision: str | None, what: str = "checkpoint") -> Source:
    """A checkpoint or adapter, downloaded from the hub where it is not a folder here."""
    # The hub's client draws progress bars. Like ours, they are shown only on terminals.
    if not err.is_terminal:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return find_source(place, revision, what=what)


def check_adapter(adapter: str | None, revision: str | None) -> None:
    """
    Raises:
        InputError: a revision of an adapter is named, and no adapter.
    """
    if adapter is None and revision is not None:
        raise InputError("--adapter-revision needs --adapter")


def find_adapter(adapter: str | None, revision: str | None) -> Source | None:
    """The adapter, as `find` does; None where none is named."""
    return None if adapter is None else find(adapter, revision, "adapter")


def trained_profile(checkpoint: str | Path, protocol: str | None) -> tuple[ProtocolProfile, str]:
    """The profile that a checkpoint was trained with: the one named, the published one, or the
    default; and a line that says so, empty where it was named."""
    if protocol is not None:
        return get_profile(protocol), ""
    known = published_profile(checkpoint)
    profile = known or get_profile(DEFAULT_PROFILE)
    reason = "as its model card shows" if known else "the default"
    return profile, f"protocol: {profile.name}, {reason}; --protocol chooses another"


def noting(line: str, progress: Progress) -> Progress:
    """The same progress, with a line on stderr when the work begins: a refusal stays one line."""
    lines = [line] if line else []

    def update(what: str, done: int, total: int) -> None:
        while lines:
            note(lines.pop())
        progress(what, done, total)

    return update


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


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The options that name a model, on this machine or on a server."""

    bundle: Path | None
    runtime: str | None
    protocol: str | None
    device: str | None
    threads: int | None
    context: int | None = None
    endpoint: str | None = None
    model: str | None = None

    def open(self) -> Askable:
        """Load the model, or connect to it.

        Raises:
            InputError: an option is for the other kind of model.
        """
        if self.endpoint is None:
            if self.model is not None:
                raise InputError("--model names a model of an --endpoint: leave it out")
            return load_model(
                *(self.bundle, self.runtime, self.protocol),
                *(self.device, self.threads, self.context),
            )
        for name in ("bundle", "runtime", "device", "threads", "context"):
            if getattr(self, name) is not None:
                raise InputError(f"--endpoint asks a server: leave --{name} out")
        return open_endpoint(self.endpoint, self.model, self.protocol)


def open_endpoint(url: str, model: str | None, protocol: str | None) -> Askable:
    """Connect to a model on a server.

    Raises:
        InputError: it does not say how its model is asked, and neither does `protocol`.
    """
    # Imported here: TLS and HTTP would make every command start slower.
    from awares_edge.remote.connecting import UnknownProtocol, connect

    try:
        return connect(url, model=model, protocol=protocol)
    except UnknownProtocol as error:
        raise InputError(f"{error} (--protocol)") from None
