"""The running page: its socket, its certificate, and the loop until it is stopped."""

from __future__ import annotations

import socket
from typing import Any

from awares_edge.camera.station import Station
from awares_edge.camera.web.app import create_app
from awares_edge.camera.web.certificate import Certificate
from awares_edge.camera.web.models import ModelChoices
from awares_edge.camera.web.options import PageOptions
from awares_edge.httpd.connections import DrainingServer
from awares_edge.httpd.loop import run_server, server_of


def make_page_server(
    station: Station,
    models: ModelChoices,
    options: PageOptions,
    certificate: Certificate | None = None,
) -> DrainingServer:
    """A server that is not running yet: `serve(sockets=[...])` is its loop, `stop()` ends it.

    Args:
        certificate: serve HTTPS with it; `options.secure` must say the same.
    """
    app: Any = create_app(station, models, options)
    tls = {}
    if certificate is not None:
        tls = {"ssl_certfile": str(certificate.file), "ssl_keyfile": str(certificate.key)}
    return server_of(app, options, on_stop=app.feed.end, on_end=app.feed.end, **tls)


def run_page(
    station: Station,
    models: ModelChoices,
    options: PageOptions,
    bound: socket.socket,
    certificate: Certificate | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    run_server(make_page_server(station, models, options, certificate), bound)
