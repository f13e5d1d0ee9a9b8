"""The client of OpenAI-compatible servers: retries, refusals, unusable replies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from PIL import Image

from awares_edge.errors import EndpointError, InputError
from awares_edge.training import endpoint
from awares_edge.training.endpoint import Endpoint
from awares_edge.training.errors import ReplyError
from awares_edge.training.judges import EndpointJudge
from awares_edge.training.oracles import EndpointOracle


class _Handler(BaseHTTPRequestHandler):
    replies: list[tuple[int, str | bytes]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, text = type(self).replies.pop(0)
        self.send_response(status)
        if status == 429 and isinstance(text, str):
            self.send_header("Retry-After", text)
        if status == 302 and isinstance(text, str):
            self.send_header("Location", text)
        self.end_headers()
        message = {"choices": [{"message": {"content": text if isinstance(text, str) else ""}}]}
        body = json.dumps(message).encode() if isinstance(text, str) else text
        for piece in (bytes([b]) for b in b"slowly") if text == b"drip" else (body,):
            self.wfile.write(piece if status == 200 else b"")
            self.wfile.flush()
            time.sleep(0.1 if text == b"drip" else 0)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Endpoint]:
    http = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{http.server_port}/v1"
    yield Endpoint(url, "m", attempts=3, first_wait=0.01, timeout=5)
    http.shutdown()
    http.server_close()


def test_endpoint_retries_and_then_gives_up(server: Endpoint) -> None:
    _Handler.replies = [(503, ""), (429, ""), (200, "2")]
    assert EndpointJudge(server).compare("q", "a", "b", "a") == "high"
    _Handler.replies = [(503, "")] * 3
    with pytest.raises(EndpointError, match="finished rows are kept"):
        server.chat("hello")
    _Handler.replies = [(401, "")]
    with pytest.raises(EndpointError, match=r"HTTP 401\): give its key"):
        server.chat("hello")


def test_a_server_that_asks_for_time_gets_it(server: Endpoint) -> None:
    waits: list[float] = []
    _Handler.replies = [(429, "7"), (429, "999999"), (200, "yes")]
    assert server.chat("hello", sleep=waits.append) == "yes"
    assert waits == [7.0, 120.0]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_is_not_the_servers_end(server: Endpoint, status: int) -> None:
    _Handler.replies = [(status, "")]
    with pytest.raises(ReplyError, match=str(status)):
        server.chat("hello")
    assert not _Handler.replies


def test_replies_that_are_no_chat_completion(
    server: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_MAX_REPLY_BYTES", 4096)
    for body in (b"<html>", b"[]", b'{"choices": []}', b"[" * 4000, b" " * 5000, b"\xff\xfe"):
        _Handler.replies = [(200, body)] * 3
        with pytest.raises(EndpointError, match="not a chat completion"):
            server.chat("hello")
    _Handler.replies = [(200, "no idea")]
    with pytest.raises(ReplyError, match="instead of a digit"):
        EndpointJudge(server).score("q", "a", "b")


def test_nobody_there() -> None:
    away = Endpoint("http://127.0.0.1:9/v1", "m", attempts=2, first_wait=0.01, timeout=1)
    with pytest.raises(EndpointError, match="finished rows are kept"):
        away.chat("hello")


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "", "file:///etc/passwd", "http://[::1/v1", "http:///v1"]
)
def test_an_address_that_is_none_is_told_at_once(url: str) -> None:
    with pytest.raises(InputError, match="not the address of a server"):
        Endpoint(url, "m")


@pytest.mark.parametrize("key", ["two\nlines", "schl\u00fcssel"])
def test_a_key_that_cannot_be_sent_is_told_at_once(key: str) -> None:
    with pytest.raises(InputError, match="must be printable ASCII"):
        Endpoint("http://localhost/v1", "m", key)


def test_the_key_is_not_carried_to_where_a_server_points(server: Endpoint) -> None:
    _Handler.replies = [(302, server.url), (200, "secret")]
    with pytest.raises(EndpointError, match="302"):
        server.chat("hello")
    assert len(_Handler.replies) == 1


def test_a_server_that_drips_runs_out_of_time(server: Endpoint) -> None:
    _Handler.replies = [(200, b"drip")]
    with pytest.raises(EndpointError, match="timed out"):
        replace(server, timeout=0.2, attempts=1).chat("hello")


def test_endpoint_oracle(server: Endpoint) -> None:
    _Handler.replies = [(200, '[{"bbox_2d": [0, 0, 500, 500]}]'), (200, "nowhere")]
    oracle = EndpointOracle(server)
    image = Image.new("RGB", (100, 100))
    assert oracle.boxes(image, "q", "a", ()) == [(0, 0, 50, 50)]
    with pytest.raises(ReplyError, match="no box"):
        oracle.boxes(image, "q", "a", ())
