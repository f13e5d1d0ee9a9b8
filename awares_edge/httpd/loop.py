"""A bound socket, and uvicorn with the limits of this package."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from awares_edge.httpd.connections import DrainingServer, guarded_protocol
from awares_edge.httpd.limits import HttpLimits

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


def origin_of(host: str, port: int, scheme: str = "http") -> str:
    """A URL without a path, such as `http://127.0.0.1:8000`."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def server_of(
    app: Any,
    limits: HttpLimits,
    *,
    on_stop: Callable[[], None],
    on_end: Callable[[], None],
    **config: Any,
) -> DrainingServer:
    """A server that is not running yet: `serve(sockets=[...])` is its loop, `stop()` ends it.

    Args:
        app: an ASGI application.
        on_stop, on_end: see `DrainingServer`.
        config: more of uvicorn's settings, such as a certificate.
    """
    settings = uvicorn.Config(
        app,
        http=guarded_protocol(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(limits.drain)),
        **config,
    )
    return DrainingServer(settings, on_stop, on_end)


def run_server(server: DrainingServer, bound: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is running."""
    # asyncio warns of every write to a client that has just left.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    server.run(sockets=[bound])
