"""`awares-edge camera` in the browser: the page, its address, its token and its certificate."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from awares_edge.api import embedded_bundle
from awares_edge.apps.console import note, out, printable, say
from awares_edge.controller import Askable
from awares_edge.extras import require
from awares_edge.runtimes.caches import cache_folder

if TYPE_CHECKING:
    from awares_edge.camera.station import Station
    from awares_edge.camera.web.models import ModelChoices

_EXTRA = "awares-edge[camera]"
_PAGE = dict.fromkeys(("starlette", "uvicorn"), _EXTRA)
_LAN = dict.fromkeys(("cryptography", "segno"), _EXTRA)

Load = Callable[[Path, "str | None"], Askable]


def require_page(lan: bool) -> None:
    """
    Raises:
        RuntimeUnavailable: a package is missing that the page needs.
    """
    require("the camera's page", _PAGE | (_LAN if lan else {}))


def listening(lan: bool, port: int) -> socket.socket:
    """The page's socket, before the model is loaded: the port may be in use."""
    from awares_edge.httpd.loop import listen

    return listen("0.0.0.0" if lan else "127.0.0.1", port)


@contextmanager
def choices(bundle: Path | None, runtime: str | None, load: Load) -> Iterator[ModelChoices]:
    """The model in use and those beside it, closed at the end."""
    from awares_edge.camera.web.models import ModelChoice, ModelChoices, find_models

    path = (bundle or embedded_bundle()).resolve()
    found = find_models((path,), embedded_bundle())
    first = [choice for choice in found if choice.path == path]
    # A checkpoint folder is no bundle: it is the only one of its kind.
    first = first or [ModelChoice(path.name, path, runtime or "", runtime or "")]
    others = [choice for choice in found if choice.path != path]
    models = ModelChoices(
        load(path, runtime), (*first, *others), lambda choice: load(choice.path, None)
    )
    try:
        yield models
    finally:
        models.close()


def serve_page(station: Station, models: ModelChoices, bound: socket.socket, lan: bool) -> None:
    """Serve the page until SIGTERM or Ctrl-C; print where it is first."""
    from awares_edge.camera.web.certificate import certificate_for
    from awares_edge.camera.web.link import link_of, local_addresses, qr_text
    from awares_edge.camera.web.options import PageOptions
    from awares_edge.camera.web.run import run_page

    host, port = bound.getsockname()[:2]
    if not lan:
        note(f"open {link_of(host, port, secure=False, token=None)}", style=None)
        run_page(station, models, PageOptions(cookie=f"awares-edge-{port}"), bound)
        return
    name, addresses = socket.gethostname(), local_addresses()
    token = secrets.token_urlsafe(24)
    certificate = certificate_for([name, *addresses], cache_folder("page"))
    link = link_of(addresses[0] if addresses else name, port, secure=True, token=token)
    out.print(printable(qr_text(link), keep="\n"), markup=False, soft_wrap=True)
    say(f"open {link}")
    note(f"the browser will ask about the certificate; its SHA-256 is {certificate.fingerprint}")
    options = PageOptions(token=token, hosts=(name,), secure=True, cookie=f"awares-edge-{port}")
    run_page(station, models, options, bound, certificate)
