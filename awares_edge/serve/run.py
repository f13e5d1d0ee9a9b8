"""A running server: one model behind uvicorn."""

from __future__ import annotations

import socket
from typing import Any

from awares_edge.controller import Model
from awares_edge.httpd.connections import DrainingServer
from awares_edge.httpd.loop import origin_of, server_of
from awares_edge.serve.app import create_app
from awares_edge.serve.options import ServeOptions


def url_of(bound: socket.socket) -> str:
    """Base URL for clients, such as `http://127.0.0.1:8000/v1`."""
    return f"{origin_of(*bound.getsockname()[:2])}/v1"


def make_server(model: Model, options: ServeOptions) -> DrainingServer:
    """A server that is not running yet: `serve(sockets=[...])` is its loop, `stop()` ends it.

    Raises:
        InputError: pictures cannot be saved as the options ask.
    """
    app: Any = create_app(model, options)

    def drain() -> None:
        app.chat.draining = True

    return server_of(app, options, on_stop=drain, on_end=app.chat.close)
