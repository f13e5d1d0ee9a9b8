"""`awares-edge serve`: an OpenAI-compatible server."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from awares_edge.apps.console import note
from awares_edge.apps.options import (
    BundleOption,
    ContextOption,
    DeviceOption,
    ProtocolOption,
    RuntimeOption,
    ThreadsOption,
    load_model,
)
from awares_edge.controller.model import Model
from awares_edge.errors import InputError
from awares_edge.extras import require
from awares_edge.httpd.limits import check_exposure
from awares_edge.serve.options import CELL_BYTES, ServeOptions

EPILOG = """
Examples:

    awares-edge serve

    awares-edge serve --bundle my-bundle --parallel 2 --port 9000

    awares-edge serve --bundle my-bundle --save-kv ~/.cache/my-kv

    AWARES_EDGE_TOKEN=... awares-edge serve --host 0.0.0.0 --allow-host edge.local
"""

TOKEN = "AWARES_EDGE_TOKEN"
NEEDS = dict.fromkeys(
    ("fastapi", "uvicorn", "httptools", "llguidance", "prometheus_client"), "awares-edge[serve]"
)
_MIB = 1 << 20


HostOption: TypeAlias = Annotated[
    str, typer.Option(help="Address to listen on. Any but a loopback one needs a token.")
]
PortOption: TypeAlias = Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")]
ModelNameOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Name of the model. Default: the bundle folder's.")
]
TokenFileOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help=f"File with the token. Default: environment variable {TOKEN}."),
]
AllowHostOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="Name under which clients reach the server; may be repeated."),
]
ParallelOption: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Questions computed at a time.")
]
QueueOption: TypeAlias = Annotated[
    int, typer.Option(min=0, help="Questions that may wait; then 429.")
]
TimeoutOption: TypeAlias = Annotated[
    float, typer.Option(help="Seconds for a question, waiting included.")
]
DrainOption: TypeAlias = Annotated[
    float, typer.Option(help="Seconds for running questions at the end.")
]
KeepPicturesOption: TypeAlias = Annotated[
    int, typer.Option(min=0, help="Pictures whose KV cache is kept for further questions.")
]
KeepMbOption: TypeAlias = Annotated[int, typer.Option(min=0, help="Most memory of them, MiB.")]
SaveKvOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder to save kept pictures to: they are found again after a restart. Nobody else "
        "may write to it.",
    ),
]
SaveKvMbOption: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Most disk space of saved pictures, MiB.")
]
MaxBodyMbOption: TypeAlias = Annotated[int, typer.Option(min=1, help="Longest request, MiB.")]
MaxPixelsOption: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Most pixels of a request's pictures.")
]
MaxImagesOption: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Most pictures of a question.")
]
MaxTokensOption: TypeAlias = Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")]
IgnoreSamplingOption: TypeAlias = Annotated[
    bool,
    typer.Option("--ignore-sampling", help="Answer requests with a temperature, greedily, too."),
]


def serve(
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    protocol: ProtocolOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    model_name: ModelNameOption = None,
    token_file: TokenFileOption = None,
    allow_host: AllowHostOption = None,
    parallel: ParallelOption = 1,
    queue: QueueOption = 16,
    timeout: TimeoutOption = 120,
    drain: DrainOption = 30,
    keep_pictures: KeepPicturesOption = 8,
    keep_mb: KeepMbOption = 1024,
    save_kv: SaveKvOption = None,
    save_kv_mb: SaveKvMbOption = 4096,
    max_body_mb: MaxBodyMbOption = 32,
    max_pixels: MaxPixelsOption = 40_000_000,
    max_images: MaxImagesOption = 16,
    max_tokens: MaxTokensOption = 1024,
    ignore_sampling: IgnoreSamplingOption = False,
) -> None:
    """Serve a model to OpenAI's clients: /v1/chat/completions, /v1/models, /metrics."""
    require("awares-edge serve", NEEDS)
    options = ServeOptions(
        model_name=model_name or _name_of(bundle),
        token=_read_token(token_file),
        hosts=tuple(allow_host or ()),
        parallel=parallel,
        waiting=queue,
        timeout=timeout,
        drain=drain,
        max_body=max_body_mb * _MIB,
        max_pixels=max_pixels,
        max_images=max_images,
        max_tokens=max_tokens,
        keep_pictures=keep_pictures,
        keep_bytes=keep_mb * _MIB,
        save_kv=save_kv,
        save_kv_bytes=save_kv_mb * _MIB,
        ignore_sampling=ignore_sampling,
    )
    check_exposure(host, options.token)
    check_folder(save_kv)
    open_model = partial(load_model, bundle, runtime, protocol, device, threads, context)
    _serve_until_stopped(open_model, host, port, options)


def _serve_until_stopped(
    open_model: Callable[[], Model], host: str, port: int, options: ServeOptions
) -> None:
    # Imported here: they need the packages that `serve` requires.
    from awares_edge.httpd.loop import listen, run_server
    from awares_edge.serve.run import make_server, url_of

    # Before the model is loaded, which may take minutes: the port may be in use.
    with listen(host, port) as bound, open_model() as model:
        options = replace(options, cell_bytes=model.cell_bytes or CELL_BYTES)
        server = make_server(model, options)
        note(f"serving {options.model_name} at {url_of(bound)}", style=None)
        run_server(server, bound)
    note("stopped")


def check_folder(save_kv: Path | None) -> None:
    """Refuse a folder before the model is loaded, which may take minutes."""
    if save_kv is not None:
        from awares_edge.serve.saved import make_private

        make_private(save_kv)


def _name_of(bundle: Path | None) -> str:
    return "awares-nano" if bundle is None else bundle.resolve().name or "awares-edge"


def _read_token(file: Path | None) -> str | None:
    if file is not None:
        try:
            return file.read_text(encoding="ascii").strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{file} holds no token: it must be ASCII") from error
    return os.environ.get(TOKEN) or None
