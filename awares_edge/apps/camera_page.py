"""`awares-edge camera` in the browser: the page, its address, its token and its certificate."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from awares_edge.api import embedded_bundle
from awares_edge.apps.console import note, out, printable, say
from awares_edge.apps.options import ModelOptions
from awares_edge.controller import Askable
from awares_edge.extras import require
from awares_edge.runtimes.caches import cache_folder

if TYPE_CHECKING:
    from awares_edge.camera.station import Station
    from awares_edge.camera.web.models import ModelChoices

_EXTRA = "awares-edge[camera]"
_PAGE = dict.fromkeys(("starlette", "uvicorn", "httptools"), _EXTRA)
_LAN = dict.fromkeys(("cryptography", "segno"), _EXTRA)


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
def choices(chosen: ModelOptions) -> Iterator[ModelChoices]:
    """The model in use and the models to choose from, closed at the end."""
    from awares_edge.camera.web.models import ModelChoice, ModelChoices, find_models

    def load(choice: ModelChoice) -> Askable:
        local = replace(chosen, bundle=choice.path, runtime=None, endpoint=None, model=None)
        return local.open()

    model = chosen.open()
    path = (chosen.bundle or embedded_bundle()).resolve()
    found = find_models((path,), embedded_bundle())
    about = model.about
    if about.address:
        name = about.name or about.address
        first = [ModelChoice(name, path, about.runtime, about.address)]
        others = list(found)
    else:
        # A checkpoint is not a bundle: it is not found.
        here = ModelChoice(path.name, path, about.runtime, f"{about.runtime}, {about.precision}")
        first = [choice for choice in found if choice.path == path] or [here]
        others = [choice for choice in found if choice.path != path]
    models = ModelChoices(model, (*first, *others), load)
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
