"""Waiting, leaving and stopping."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

import awares_edge
from tests.serve.support import Brake, ask, chunks, picture, serving, streamed_text, wait_until

LONG = "x" * 20_000
"""Takes over a minute where each token takes 5 ms."""


def posted(server, body):
    """A request on a thread of its own, with a connection of its own; its response comes last."""
    found = []

    def post():
        with httpx.Client(base_url=server.root, timeout=60, trust_env=False) as http:
            found.append(http.post("/v1/chat/completions", json=body))

    thread = threading.Thread(target=post)
    thread.start()

    def response():
        thread.join(60)
        return found[0]

    return response


def running(server):
    return server.metric("num_requests_running")


def waiting(server):
    return server.metric("num_requests_waiting")


def test_questions_wait_for_their_turn(monkeypatch):
    brake = Brake(monkeypatch)
    with serving("one", "two", "three") as server:
        responses = []
        for seed in range(3):
            responses.append(posted(server, ask(seed=seed)))
            wait_until(lambda: running(server) + waiting(server) == len(responses))
        assert (running(server), waiting(server)) == (1, 2)
        brake.go.set()
        answers = [r().json()["choices"][0]["message"]["content"] for r in responses]
    assert answers == ["one", "two", "three"]


def test_more_than_may_wait_are_sent_away(monkeypatch):
    brake = Brake(monkeypatch)
    with serving("one", "two", "three", waiting=1) as server:
        first = posted(server, ask(seed=0))
        wait_until(lambda: running(server) == 1)
        second = posted(server, ask(seed=1))
        wait_until(lambda: waiting(server) == 1)
        for body in (ask(seed=2), ask(seed=2, stream=True)):
            response = server.post(body)
            assert response.status_code == 429
            assert response.json()["error"]["code"] == "queue_full"
            assert int(response.headers["Retry-After"]) >= 1
        # Probes and metrics answer all the same.
        assert server.http.get("/healthz").status_code == 200
        brake.go.set()
        assert first().status_code == second().status_code == 200
        assert server.chat(ask(seed=2))["choices"][0]["message"]["content"] == "three"


def test_several_questions_may_run_at_a_time(monkeypatch):
    brake = Brake(monkeypatch)
    with serving(*["42"] * 3, parallel=3) as server:
        responses = [posted(server, ask(seed=seed)) for seed in range(3)]
        wait_until(lambda: running(server) == 3)
        brake.go.set()
        assert [r().status_code for r in responses] == [200] * 3


def test_the_same_picture_may_be_asked_about_twice_at_a_time(monkeypatch):
    brake = Brake(monkeypatch)
    with serving(*["42"] * 3, parallel=2) as server:
        responses = [posted(server, ask()) for _ in range(2)]
        wait_until(lambda: running(server) == 2)
        brake.go.set()
        assert [r().status_code for r in responses] == [200] * 2
        cached = server.chat(ask())["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert cached > 96


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(monkeypatch, stream):
    brake = Brake(monkeypatch, seconds=0.005)
    with serving(LONG, "42", max_tokens=30_000) as server:
        with httpx.Client(base_url=server.root, timeout=60, trust_env=False) as http:
            request = http.build_request(
                "POST", "/v1/chat/completions", json=ask(stream=stream, max_tokens=30_000)
            )
            if stream:
                lines = http.send(request, stream=True).iter_lines()
                assert next(lines).startswith("data: ")
            else:
                leaver = socket.create_connection((request.url.host, request.url.port))
                leaver.sendall(raw(request))
                for _ in range(20):  # well into the answer
                    assert brake.entered.acquire(timeout=30)
                leaver.close()
        wait_until(lambda: running(server) == 0)
        status = "200" if stream else "499"
        assert server.metric("requests_total", f'{{status="{status}"}}') == 1
        assert server.chat(ask(seed=1))["choices"][0]["message"]["content"] == "42"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_the_queue_is_forgotten(monkeypatch, stream):
    brake = Brake(monkeypatch)
    with serving("one", "two") as server:
        first = posted(server, ask(seed=0))
        wait_until(lambda: running(server) == 1)
        body = ask(seed=1, stream=stream)
        request = server.http.build_request("POST", "/v1/chat/completions", json=body)
        leaver = socket.create_connection((request.url.host, request.url.port))
        leaver.sendall(raw(request))
        wait_until(lambda: waiting(server) == 1)
        leaver.close()
        wait_until(lambda: waiting(server) == 0)
        assert running(server) == 1
        brake.go.set()
        assert first().status_code == 200
        # The reply of the one who left was not used up.
        assert server.chat(ask(seed=2))["choices"][0]["message"]["content"] == "two"


def test_an_interrupted_picture_is_not_kept(monkeypatch):
    Brake(monkeypatch, seconds=0.005)
    with serving(LONG, "42", max_tokens=30_000) as server:
        with (
            httpx.Client(base_url=server.root, timeout=60, trust_env=False) as http,
            http.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as response,
        ):
            next(response.iter_lines())
        wait_until(lambda: running(server) == 0)
        cold = server.chat(ask())["usage"]["prompt_tokens_details"]["cached_tokens"]
        with awares_edge.scripted("42") as model, model.open(picture()) as opened:
            assert cold == opened.ask("What?").turns[0].reused_tokens


def test_an_answer_that_takes_too_long_ends_with_504(monkeypatch):
    Brake(monkeypatch, seconds=0.005)
    with serving(LONG, timeout=0.3, max_tokens=30_000) as server:
        response = server.post(ask())
        assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
        wait_until(lambda: running(server) == 0)


def test_stopping_finishes_what_is_running(monkeypatch):
    brake = Brake(monkeypatch)
    with serving("forty two", "forty two") as server:
        response = posted(server, ask(stream=True))
        wait_until(lambda: running(server) == 1)
        server.server.stop()
        wait_until(lambda: refuses(server))
        brake.go.set()
        assert streamed_text(chunks(response())) == "forty two"


def refuses(server):
    try:
        with httpx.Client(trust_env=False) as http:
            return http.get(f"{server.root}/readyz").status_code == 503
    except httpx.TransportError:
        return True


def test_a_server_that_stops_is_not_ready(monkeypatch):
    brake = Brake(monkeypatch)
    with serving("42") as server, httpx.Client(base_url=server.root, trust_env=False) as held:
        response = posted(server, ask())
        wait_until(lambda: running(server) == 1)
        assert held.get("/readyz").status_code == 200
        server.server._on_stop()
        assert held.get("/readyz").status_code == 503
        refused = held.post("/v1/chat/completions", json=ask(seed=1))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
        brake.go.set()
        assert response().status_code == 200


def test_what_does_not_end_in_time_is_cut_off(monkeypatch):
    Brake(monkeypatch, seconds=0.005)
    with serving(LONG, drain=0.5, max_tokens=30_000) as server:
        thread = threading.Thread(target=lambda: post_and_forget(server))
        thread.start()
        wait_until(lambda: running(server) == 1)
    thread.join(60)
    assert not thread.is_alive()


def post_and_forget(server):
    with (
        contextlib.suppress(httpx.TransportError),
        httpx.Client(base_url=server.root, timeout=60, trust_env=False) as http,
    ):
        http.post("/v1/chat/completions", json=ask(max_tokens=30_000))


def raw(request):
    lines = [f"{request.method} {request.url.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + request.read()


# The command, as a process.


@contextlib.contextmanager
def started(*options):
    """`awares-edge serve` on a free port; yields the process and its URL."""
    arguments = [sys.executable, "-m", "awares_edge", "serve", "--port", "0", "--threads", "1"]
    arguments += options
    environment = {k: v for k, v in os.environ.items() if k != "AWARES_EDGE_TOKEN"}
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stderr.readline()
        match = re.fullmatch(r"serving awares-nano at (http://127\.0\.0\.1:\d+)/v1\n", line)
        assert match, line
        root = match[1]
        wait_until(lambda: answers(root))
        yield process, root
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture
def command():
    with started() as found:
        yield found


def answers(root):
    try:
        return httpx.get(f"{root}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_the_command_serves_and_stops_with_0(command, number):
    process, root = command
    response = httpx.post(f"{root}/v1/chat/completions", json=ask(), timeout=60, trust_env=False)
    assert response.json()["awares"]["runtime"] == "onnx"
    process.send_signal(number)
    assert process.wait(60) == 0
    assert process.stderr.read().splitlines() == ["stopped"]


def test_a_second_signal_does_not_wait(command):
    process, root = command
    slow = socket.create_connection(("127.0.0.1", int(root.rpartition(":")[2])))
    slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n")
    slow.sendall(b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None  # it waits for the request
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    slow.close()


@pytest.mark.slow
def test_a_killed_server_has_saved_what_it_answered_about(tmp_path):
    folder, cached = tmp_path / "kv", []
    for _ in range(2):
        with started("--save-kv", str(folder)) as (process, root):
            url = f"{root}/v1/chat/completions"
            reply = httpx.post(url, json=ask(), timeout=60, trust_env=False).json()
            cached.append(reply["usage"]["prompt_tokens_details"]["cached_tokens"])
            wait_until(lambda: list(folder.glob("*.kv")))
            process.kill()
    assert cached[1] > cached[0]
