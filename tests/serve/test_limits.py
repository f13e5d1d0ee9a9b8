"""Requests that are too long, too slow, too many or malformed."""

import contextlib
import json
import re
import socket

import pytest

from tests.serve.support import (
    address,
    ask,
    connected,
    everything,
    raw,
    refused,
    serving,
    wait_until,
)

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server():
    """One for all tests that need no reply of the model: starting one takes longer than they do."""
    with serving() as served:
        yield served


def test_a_long_request_is_refused_with_and_without_its_length():
    with serving(max_body=10_000) as server:
        body = json.dumps(ask()).encode()
        assert len(body) > 10_000
        headers = {"Content-Type": "application/json"}
        for content in (body, iter([body])):
            response = server.http.post("/v1/chat/completions", content=content, headers=headers)
            refused(response, 413, "request_too_large")
        said = {**headers, "Content-Length": "99999999999999999999999"}
        lines = "".join(f"{k}: {v}\r\n" for k, v in said.items())
        request = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"
        assert raw(server, request.encode())[0] in (400, 413)


def test_an_endless_body_is_cut_off():
    with serving(max_body=2000) as server, connected(server) as client:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\n".encode())
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        received = b""
        client.settimeout(0.01)
        for _ in range(10_000):
            with contextlib.suppress(OSError):
                client.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            try:
                received += client.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                break
            break
        assert b" 413 " in received.split(b"\r\n")[0]


def test_a_header_that_trickles_in_is_cut_off():
    with serving(header_seconds=0.2) as server:
        assert raw(server, b"GET /healthz HTTP/1.1\r\nHost: loc", shut=False)[0] == 408
        # Also the second request of a connection.
        whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with connected(server) as client:
            client.sendall(whole)
            client.sendall(whole[:20])
            assert re.findall(rb"HTTP/1.1 (\d+)", everything(client)) == [b"200", b"408"]


def test_a_connection_that_says_nothing_is_closed():
    with serving(header_seconds=0.2) as server:
        assert raw(server, b"", shut=False)[0] == 408


def test_a_body_that_trickles_in_is_cut_off():
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with serving(body_seconds=0.2) as server:
        status, body = raw(server, head.encode(), shut=False)
    assert (status, json.loads(body)["error"]["code"]) == (408, "request_timeout")


def test_a_client_that_does_not_read_is_cut_off():
    with serving("x" * 2000, max_tokens=2000, body_seconds=0.3, send_buffer=4096) as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(30)
            client.connect(address(server))
            body = json.dumps(ask(stream=True)).encode()
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            open_connections = server.server.server_state.connections
            wait_until(lambda: len(open_connections) == 1)
            wait_until(lambda: len(open_connections) == 0)
            assert b"[DONE]" not in everything(client)
        assert server.http.get("/healthz").status_code == 200


def test_connections_are_bounded(server, monkeypatch):
    monkeypatch.setattr("awares_edge.httpd.connections.MAX_CONNECTIONS", 3)
    held = [socket.create_connection(address(server)) for _ in range(3)]
    assert raw(server, b"", shut=False)[0] == 503
    for client in held:
        client.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n",
        PROBE + b"X: a\r\n folded\r\n\r\n",
        PROBE + b"X: \x00\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_bad_http_is_a_400_in_the_usual_shape(server, request_bytes):
    status, body = raw(server, request_bytes)
    assert status == 400
    assert "error" in json.loads(body)
    assert server.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "beginning",
    [
        PROBE + b"X: ",  # a value without an end
        PROBE,  # a name without an end
        b"GET /",
        PROBE + b"\r\n" + PROBE + b"X: ",  # of the second request
        CHUNKED + b"2\r\n{}\r\n0\r\nX: ",  # a trailer
        CHUNKED + b"2;",  # what may be written beside a chunk's size
    ],
)
def test_an_endless_header_is_cut_off(server, beginning):
    with connected(server) as client:
        client.sendall(beginning)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.sendall(b"a" * 100_000_000)
    assert server.http.get("/healthz").status_code == 200


@pytest.mark.parametrize("lines", [[b"X: " + b"a" * 16_384], [b"X: a"] * 4_096])
def test_a_header_over_the_limit_is_refused(server, lines):
    for length in (100, 100_000):  # bytes that are sent at a time
        with connected(server) as client:
            request = PROBE + b"\r\n".join(lines) + b"\r\n\r\n"
            for at in range(0, len(request), length):
                with contextlib.suppress(OSError):  # it has answered and closed already
                    client.sendall(request[at : at + length])
            status, body = everything(client).split(b"\r\n\r\n")
        assert status.split(b" ")[1] == b"431"
        assert json.loads(body)["error"]["code"] == "header_too_long"
    long = PROBE + b"X: " + b"a" * 16_000 + b"\r\nConnection: close\r\n\r\n"
    assert raw(server, long, shut=False)[0] == 200


def test_a_trailer_is_refused(server):
    status, body = raw(server, CHUNKED + b"2\r\n{}\r\n0\r\nHost: b\r\n\r\n", shut=False)
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_http")


@pytest.mark.parametrize("second", [PROBE + b"\r\n", b"nonsense\r\n\r\n"])
def test_what_is_sent_before_the_answer_ends_the_connection_after_it(second):
    with serving("42") as server, connected(server) as client:
        body = json.dumps(ask()).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        client.sendall(POST + head + body + second)
        assert re.findall(rb"HTTP/1.1 (\d+)", everything(client)) == [b"200"]


def test_an_offer_of_another_protocol_is_ignored(server):
    offer = b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert raw(server, PROBE + offer, shut=False)[0] == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"messages": [], "messages": []}',
        b'{"temperature": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"max_tokens": ' + b"9" * 5000 + b"}",
    ],
)
def test_bad_json_is_a_400(server, content):
    headers = {"Content-Type": "application/json"}
    response = server.http.post("/v1/chat/completions", content=content, headers=headers)
    assert response.status_code == 400
    assert "error" in response.json()


@pytest.mark.parametrize("more", [{}, {"model": "\ud800"}, {"stop": "\ud800"}])
def test_half_a_surrogate_pair_is_refused(server, more):
    body = json.dumps(ask("\ud800?", **more))  # as ASCII, which can spell it
    headers = {"Content-Type": "application/json"}
    response = server.http.post("/v1/chat/completions", content=body, headers=headers)
    assert response.status_code in (400, 404)
    assert "error" in response.json()


def test_requests_that_only_arrive_are_bounded():
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with serving("42", waiting=0) as server, contextlib.ExitStack() as held:
        for _ in range(9):  # one may run, none wait, and eight arrive
            held.enter_context(connected(server)).sendall(head.encode())
        wait_until(lambda: server.post(ask()).status_code == 429)
        held.close()
        wait_until(lambda: server.post({"messages": []}).status_code == 400)
        assert server.chat(ask())["choices"][0]["message"]["content"] == "42"
