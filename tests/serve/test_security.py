"""Who may ask: tokens, names, origins, paths."""

import json

import pytest

from awares_edge.errors import InputError
from awares_edge.httpd.limits import check_exposure, is_loopback
from awares_edge.serve.options import ServeOptions
from tests.serve.support import ask, raw, refused, serving

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def server():
    """One for all tests that need no reply of the model: starting one takes longer than they do."""
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def guarded():
    with serving(token=TOKEN) as served:
        yield served


# Who asks.


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/props", "/openapi.json", "/nowhere"])
@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
def test_without_the_token_nothing_but_probes_answers(guarded, path, value):
    headers = {} if value is None else {"Authorization": value}
    response = guarded.http.get(path, headers=headers)
    refused(response, 401, "invalid_api_key")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert guarded.http.get("/healthz").status_code == 200


def test_two_tokens_are_none(guarded):
    values = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer other")]
    refused(guarded.http.get("/v1/models", headers=values), 401, "invalid_api_key")


def test_the_token_opens_the_server():
    with serving("42", token=TOKEN, headers={"Authorization": f"bearer {TOKEN}"}) as server:
        assert server.chat(ask())["choices"][0]["message"]["content"] == "42"


def test_a_wrong_token_is_refused_before_the_body_is_read(guarded):
    refused(guarded.http.post("/v1/chat/completions", content=b"{"), 401, "invalid_api_key")


@pytest.mark.parametrize("token", ["", "short", "\u00fc" * 20])
def test_weak_tokens_are_refused(token):
    with pytest.raises(InputError):
        ServeOptions(token=token)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "edge.local", ""])
def test_other_addresses_need_a_token(host):
    with pytest.raises(InputError, match="AWARES_EDGE_TOKEN"):
        check_exposure(host, None)
    check_exposure(host, TOKEN)


def test_loopback_addresses_need_none():
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert is_loopback(host)
        check_exposure(host, None)


# Under which name, and from where.


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example"])
def test_a_rebound_name_is_refused(server, host):
    refused(server.http.get("/v1/models", headers={"Host": host}), 403, "unknown_host")


@pytest.mark.parametrize("host", ["a b", "@", "localhost:x", "[::1", "localhost:8000:1", ""])
def test_a_malformed_host_is_refused(server, host):
    response = server.http.get("/v1/models", headers={"Host": host})
    assert response.status_code in (400, 403)
    assert "error" in response.json()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:8", "10.0.0.7"])
def test_addresses_and_localhost_are_fine(server, host):
    assert server.http.get("/v1/models", headers={"Host": host}).status_code == 200


def test_further_names_can_be_allowed():
    with serving(hosts=("Edge.Local",)) as server:
        response = server.http.get("/v1/models", headers={"Host": "edge.local:8000"})
        assert response.status_code == 200


def test_a_page_of_another_origin_may_not_read(server):
    origin = {"Origin": "https://evil.example"}
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    preflight = server.http.options("/v1/chat/completions", headers=asked)
    plain = server.http.get("/v1/models", headers=origin)
    assert preflight.status_code == 405
    for response in (preflight, plain):
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_a_page_can_post_without_asking_is_refused(kind):
    with serving("42") as server:
        headers = {} if kind is None else {"Content-Type": kind}
        content = json.dumps(ask()).encode()
        response = server.http.post("/v1/chat/completions", content=content, headers=headers)
        refused(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/v1/models/../../../etc/passwd",
        "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v1/models//etc/passwd",
        "/%00",
        "//evil.example/v1/models",
        "/v1/models/%ff%fe",
        "/v1/chat/completions/",
    ],
)
def test_paths_lead_nowhere(server, path):
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    status, body = raw(server, request.encode())
    assert status in (400, 404)
    assert "root:" not in body
    assert "error" in json.loads(body)
