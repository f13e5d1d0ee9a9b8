"""`awares-edge mcp`: one tool for agents, over standard input and output."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated

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
from awares_edge.apps.serve import SaveKvMbOption, SaveKvOption, check_folder
from awares_edge.errors import InputError
from awares_edge.extras import require

EPILOG = """
Examples:

    awares-edge mcp --root ~/screenshots

    claude mcp add look -- awares-edge mcp --root /data/frames --bundle /models/awares-7b
"""

_ENDINGS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}
NEEDS = {"mcp": "awares-edge[mcp]"}


def mcp(
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    protocol: ProtocolOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    root: Annotated[
        Path, typer.Option(help="Folder that pictures are read from; no other is.")
    ] = Path(),
    timeout: Annotated[float, typer.Option(help="Seconds for a question.")] = 120,
    keep_pictures: Annotated[
        int, typer.Option(min=0, help="Pictures whose KV cache is kept for further questions.")
    ] = 8,
    save_kv: SaveKvOption = None,
    save_kv_mb: SaveKvMbOption = 4096,
) -> None:
    """Serve the tool `look(image, question, region?)` to agents (Model Context Protocol)."""
    require("awares-edge mcp", NEEDS)
    from awares_edge.serve.look import Looker, make_server
    from awares_edge.serve.options import CELL_BYTES, ServeOptions

    if not root.is_dir():
        raise InputError(f"no such folder: {root}")
    options = ServeOptions(
        timeout=timeout,
        keep_pictures=keep_pictures,
        save_kv=save_kv,
        save_kv_bytes=save_kv_mb << 20,
    )
    check_folder(save_kv)
    with load_model(bundle, runtime, protocol, device, threads, context) as model:
        looker = Looker(model, root, replace(options, cell_bytes=model.cell_bytes or CELL_BYTES))
        note(f"look is ready; pictures are read from {root.resolve()}")
        # The protocol uses the process's stdout; the library redirects other output.
        ours, sys.stdout = sys.stdout, sys.__stdout__ or sys.stdout
        for number in _ENDINGS:
            signal.signal(number, _end_at_once)
        try:
            make_server(looker).run("stdio")
        finally:
            sys.stdout = ours
            looker.close()


def _end_at_once(number: int, _: FrameType | None) -> None:
    """Nothing is half-written here, and a thread of the library that waits for a line of standard
    input cannot be woken: Python would wait for it before it exits."""
    os.write(2, f"awares-edge: {_ENDINGS[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)
