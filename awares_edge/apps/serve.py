"""`awares-edge serve`: an OpenAI-compatible server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from awares_edge.api import embedded_bundle
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
from awares_edge.bundle.store import Bundle
from awares_edge.errors import AwaresError, InputError
from awares_edge.extras import require

EPILOG = """
Examples:

    awares-edge serve

    awares-edge serve --bundle my-bundle --parallel 2 --port 9000

    AWARES_EDGE_TOKEN=... awares-edge serve --host 0.0.0.0 --allow-host edge.local
"""

TOKEN = "AWARES_EDGE_TOKEN"
NEEDS = dict.fromkeys(
    ("fastapi", "uvicorn", "llguidance", "prometheus_client"), "awares-edge[serve]"
)
_MIB = 1 << 20


def serve(
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    protocol: ProtocolOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but a loopback one needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8000,
    model_name: Annotated[
        str | None, typer.Option(help="Name of the model. Default: the bundle folder's.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the token. Default: environment variable {TOKEN}."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name under which clients reach the server; may be repeated."),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Questions computed at a time.")] = 1,
    queue: Annotated[int, typer.Option(min=0, help="Questions that may wait; then 429.")] = 16,
    timeout: Annotated[float, typer.Option(help="Seconds for a question, waiting included.")] = 120,
    drain: Annotated[float, typer.Option(help="Seconds for running questions at the end.")] = 30,
    keep_pictures: Annotated[
        int, typer.Option(min=0, help="Pictures whose KV cache is kept for further questions.")
    ] = 8,
    keep_mb: Annotated[int, typer.Option(min=0, help="Most memory of them, MiB.")] = 1024,
    max_body_mb: Annotated[int, typer.Option(min=1, help="Longest request, MiB.")] = 32,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Most pixels of a request's pictures.")
    ] = 40_000_000,
    max_images: Annotated[int, typer.Option(min=1, help="Most pictures of a question.")] = 16,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 1024,
    ignore_sampling: Annotated[
        bool,
        typer.Option(
            "--ignore-sampling", help="Answer requests with a temperature, greedily, too."
        ),
    ] = False,
) -> None:
    """Serve a model to OpenAI's clients: /v1/chat/completions, /v1/models, /metrics."""
    require("awares-edge serve", NEEDS)
    from awares_edge.httpd.limits import check_exposure
    from awares_edge.httpd.loop import listen
    from awares_edge.serve.options import CELL_BYTES, ServeOptions
    from awares_edge.serve.run import run, url_of

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
        cell_bytes=cell_bytes(bundle) or CELL_BYTES,
        ignore_sampling=ignore_sampling,
    )
    check_exposure(host, options.token)
    # Before the model is loaded, which may take minutes: the port may be in use.
    with (
        listen(host, port) as bound,
        load_model(bundle, runtime, protocol, device, threads, context) as model,
    ):
        note(f"serving {options.model_name} at {url_of(bound)}", style=None)
        run(model, options, bound)
    note("stopped")


def cell_bytes(bundle: Path | None) -> int | None:
    """Memory of one KV cell in a bundle's model, in float32; None where there is no bundle."""
    root = embedded_bundle() if bundle is None else bundle
    try:
        shape = Bundle.open(root, verify=False).manifest.model
    except (AwaresError, OSError):
        return None
    return 4 * (2 * shape.layers * shape.kv_heads * shape.head_dim + shape.hidden_size)


def _name_of(bundle: Path | None) -> str:
    return "awares-nano" if bundle is None else bundle.resolve().name or "awares-edge"


def _read_token(file: Path | None) -> str | None:
    if file is not None:
        try:
            return file.read_text(encoding="ascii").strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{file} holds no token: it must be ASCII") from error
    return os.environ.get(TOKEN) or None
