"""A running server for a test, and what clients send it."""

import base64
import io
import json
import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from PIL import Image

import awares_edge
from awares_edge.httpd.loop import listen, run_server
from awares_edge.runtimes.null import NullSession
from awares_edge.serve.options import ServeOptions
from awares_edge.serve.run import make_server, url_of

CALL = "GET_CROPS: ['3']"
NAME = "awares-edge"


def picture(seed=0, size=(448, 336)):
    """A picture of noise: no two seeds are alike."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, kind="PNG"):
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def data_url(image, kind="PNG"):
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encoded(image, kind)).decode()}"


def text(words):
    return {"type": "text", "text": words}


def image(seed=0, size=(448, 336), **more):
    return {"type": "image_url", "image_url": {"url": data_url(picture(seed, size)), **more}}


def user(*parts):
    return {"role": "user", "content": list(parts)}


def ask(question="What?", seed=0, **more):
    """The body of a request: one question about one picture."""
    return {"messages": [user(text(question), image(seed))], **more}


@dataclass
class Served:
    """A server that runs.

    Attributes:
        url: with `/v1`; `root` is without.
        model: scripted; `script` adds replies.
    """

    url: str
    model: Any
    server: Any
    http: httpx.Client

    @property
    def root(self):
        return self.url.removesuffix("/v1")

    def post(self, body, **more):
        return self.http.post("/v1/chat/completions", json=body, **more)

    def chat(self, body):
        """The reply to a request that must succeed."""
        response = self.post(body)
        assert response.status_code == 200, response.text
        return response.json()

    def script(self, *replies):
        self.model.runtime.script(*replies)

    def metric(self, name, labels=""):
        """The value of one metric; 0 before its first count."""
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(f"awares_edge:{name}{labels} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0


@contextmanager
def serving(*replies, model=None, headers=None, send_buffer=None, **options):
    """A server in a thread of this process, on a free port of 127.0.0.1.

    Args:
        send_buffer: bytes that the system takes from the server before a client reads them.
    """
    model = model or awares_edge.scripted(replies)
    bound = listen("127.0.0.1", 0)
    if send_buffer:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    url = url_of(bound)
    server = make_server(model, ServeOptions(**{"timeout": 60.0, **options}))
    thread = threading.Thread(target=run_server, args=(server, bound))
    thread.start()
    wait_until(lambda: server.started)
    root = url.removesuffix("/v1")
    try:
        with httpx.Client(base_url=root, headers=headers, timeout=60, trust_env=False) as http:
            yield Served(url, model, server, http)
    finally:
        server.stop()
        thread.join(60)
        model.close()
    assert not thread.is_alive()


def wait_until(condition, seconds=30.0):
    """Fail where something does not happen at all; how long it takes is not asserted."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def chunks(response):
    """The objects of a stream of server-sent events, which must end as OpenAI's do."""
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def streamed_text(parts):
    return "".join(p["choices"][0]["delta"].get("content") or "" for p in parts if p["choices"])


class Brake:
    """Holds a scripted model's steps back, so that a test decides when an answer goes on.

    With `seconds` each step takes that long instead: an answer of thousands of tokens then lasts
    far longer than any test waits.
    """

    def __init__(self, monkeypatch, seconds=None):
        self.go = threading.Event()
        self.entered = threading.Semaphore(0)
        forward = NullSession._forward

        def slow(session, piece):
            self.entered.release()
            if seconds is None:
                assert self.go.wait(60)
            else:
                time.sleep(seconds)
            return forward(session, piece)

        monkeypatch.setattr(NullSession, "_forward", slow)


def refused(response, status, code):
    """Assert that a response is this error, in OpenAI's shape."""
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code), error
    assert set(error) == {"message", "type", "param", "code"}


# Connections without a client library.


def address(server):
    host, port = re.fullmatch(r"http://([\d.]+):(\d+)", server.root).groups()
    return host, int(port)


def connected(server):
    return socket.create_connection(address(server), timeout=30)


def raw(server, data, shut=True):
    """Status and body of the response to these bytes; the server must close the connection."""
    with connected(server) as client:
        client.sendall(data)
        if shut:
            with suppress(OSError):  # it has answered and closed already
                client.shutdown(socket.SHUT_WR)
        received = everything(client)
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body.decode()


def everything(client):
    """What the server sends until it closes the connection."""
    received = b""
    try:
        while piece := client.recv(65_536):
            received += piece
    except ConnectionResetError:  # it closed without reading what was left
        pass
    return received
