"""A running server: its socket, and the loop until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import uvicorn

from awares_edge.controller import Model
from awares_edge.serve.app import create_app
from awares_edge.serve.connections import DrainingServer, guarded_protocol
from awares_edge.serve.options import MAX_HEADER, ServeOptions

_BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, on which nothing listens yet; port 0 takes a free one.

    Raises:
        OSError: no such address, or it is in use.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
    return opened


def url_of(bound: socket.socket) -> str:
    """Base URL for clients, such as `http://127.0.0.1:8000/v1`."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def make_server(model: Model, options: ServeOptions) -> DrainingServer:
    """A server that is not running yet: `serve(sockets=[...])` is its loop, `stop()` ends it."""
    app: Any = create_app(model, options)
    config = uvicorn.Config(
        app,
        http=guarded_protocol(options),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=MAX_HEADER,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(options.drain)),
    )

    def drain() -> None:
        app.chat.draining = True

    return DrainingServer(config, drain, app.chat.close)


def run(model: Model, options: ServeOptions, bound: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is running."""
    # asyncio warns of every write to a client that has just left.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    asyncio.run(make_server(model, options).serve(sockets=[bound]))
