"""A served page for a test, and a browser to look at it with."""

import asyncio
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import awares_edge
from awares_edge.camera.sources.synthetic import SyntheticSource
from awares_edge.camera.station import Station, StationOptions
from awares_edge.camera.web.models import ModelChoice, ModelChoices
from awares_edge.camera.web.options import PageOptions
from awares_edge.camera.web.run import make_page_server
from awares_edge.errors import CameraError
from awares_edge.httpd.loop import listen, origin_of
from tests.serve.support import wait_until

CALL = "GET_CROPS: ['3']"
TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass
class ServedPage:
    """A page that is served.

    Attributes:
        url: without a path.
        models: what may be chosen; `model` is the scripted one in use at the beginning.
    """

    url: str
    station: Station
    model: Any
    models: ModelChoices
    http: httpx.Client

    def script(self, *replies):
        self.model.runtime.script(*replies)

    def post(self, path, body, **more):
        return self.http.post(path, json=body, **more)

    def last(self, state="done"):
        """The newest exchange, as soon as it is in this state."""
        wait_until(lambda: self.station.history() and self.station.history()[-1].state == state)
        return self.station.history()[-1]


@contextmanager
def page_served(*replies, model=None, opener=None, certificate=None, station=None, **options):
    """A page in a thread of this process, on a free port of 127.0.0.1.

    Args:
        station: more of the station's options.
    """
    model = model or awares_edge.scripted(replies)
    choice = ModelChoice("scripted", Path("scripted"), "null", "null, none")
    other = ModelChoice("other", Path("other"), "null", "null, none")
    missing = ModelChoice("absent", Path("absent"), "null", "", "needs llama_cpp: pip install x")
    models = ModelChoices(model, (choice, other, missing), lambda _: awares_edge.scripted())
    more = {} if opener is None else {"opener": opener}
    bound = listen("127.0.0.1", 0)
    secure = certificate is not None
    with bound, Station(model, StationOptions(**(station or {})), **more) as running:
        options = PageOptions(secure=secure, **options)
        server = make_page_server(running, models, options, certificate)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(server.serve(sockets=[bound]))
        )
        thread.start()
        wait_until(lambda: server.started)
        url = origin_of(*bound.getsockname()[:2], "https" if secure else "http")
        try:
            with httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False) as http:
                yield ServedPage(url, running, model, models, http)
        finally:
            loop.call_soon_threadsafe(server.stop)
            thread.join(60)
    models.close()
    assert not thread.is_alive()


class LosableSource(SyntheticSource):
    """The synthetic scene, until a test pulls the plug; it sways through one picture only."""

    def __init__(self):
        super().__init__(seconds=1e9)
        self.unplugged = threading.Event()

    def open(self):
        if self.unplugged.is_set():
            raise CameraError("the cable is out")
        super().open()

    def grab(self):
        if self.unplugged.is_set():
            raise CameraError("the cable is out")
        super().grab()


@contextmanager
def chromium(*flags):
    """A headless Chromium; skips where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as play:
        args = ["--no-sandbox", "--disable-gpu", *flags]
        browser = play.chromium.launch(executable_path=program, args=args)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visiting(browser, served, path="/", **context):
    """A tab with the page, whose camera is live. At the end: no error in any script, no breach of
    the Content-Security-Policy, and no request to any other place.

    Args:
        context: Playwright's options of a context, such as `color_scheme`.
    """
    requests, errors = [], []
    with browser.new_context(ignore_https_errors=True, **context) as opened:
        tab = opened.new_page()
        tab.set_default_timeout(20_000)
        opened.on("request", lambda request: requests.append(request.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda m: errors.append(m.text) if "Content Security" in m.text else None)
        tab.goto(served.url + path)
        yield tab
    assert requests
    assert [url for url in requests if not url.startswith(f"{served.url}/")] == []
    assert errors == []


def live(tab):
    """Wait until the camera is live and a frame is drawn."""
    tab.wait_for_selector("#link:not(.off)")
    tab.wait_for_selector("#live[data-frame]", state="attached")
    return tab


def ask(tab, question):
    tab.fill("#question", question)
    tab.click("#ask-new")


def text(tab, selector):
    return tab.inner_text(selector).strip()


def answered(tab, words):
    tab.wait_for_selector(f"#answer-text:text-is('{words}')")
    tab.wait_for_selector("#answer-text[aria-busy=false]")


def until(tab, expression):
    """Playwright's own way evaluates text in the page, which the page's policy forbids."""
    wait_until(lambda: tab.evaluate(expression))
