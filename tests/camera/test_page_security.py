"""Who may see the camera: tokens, names, origins; and what may be sent."""

import zlib

import httpx
import pytest

from tests.camera.page_support import TOKEN, page_served
from tests.serve.support import encoded, picture, refused, wait_until

READ = ["/api/state", "/api/events", "/api/frame.jpg", "/api/exchanges/1/frame.jpg"]
WRITE = ["/api/ask", "/api/cancel", "/api/source", "/api/model", "/api/record", "/api/frame"]


@pytest.fixture(scope="module")
def page():
    with page_served() as served:
        yield served


@pytest.fixture(scope="module")
def guarded():
    with page_served(token=TOKEN) as served:
        yield served


# The token


@pytest.mark.parametrize("path", [*READ, *WRITE, "/nowhere"])
def test_without_the_token_there_is_nothing_but_the_login(guarded, path):
    with httpx.Client(base_url=guarded.url, trust_env=False) as stranger:
        refused(stranger.request("POST" if path in WRITE else "GET", path), 401, "invalid_api_key")
        assert stranger.get("/").status_code == 200
        assert stranger.get("/static/app.js").status_code == 200


def test_the_token_is_changed_for_a_cookie_that_scripts_cannot_read(guarded):
    with httpx.Client(base_url=guarded.url, trust_env=False) as browser:
        wrong = browser.post("/api/login", json={"token": TOKEN[::-1]})
        refused(wrong, 401, "invalid_api_key")
        assert "set-cookie" not in wrong.headers
        cookie = browser.post("/api/login", json={"token": TOKEN}).headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/api/state").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "awares-edge="},
        {"Cookie": f"awares-edge={TOKEN}x"},
        {"Cookie": f"other={TOKEN}"},
        {"Cookie": f"awares-edge=x; awares-edge={TOKEN}"},
        {"Authorization": "Bearer wrong", "Cookie": f"awares-edge={TOKEN}"},
    ],
)
def test_other_cookies_open_nothing(guarded, headers):
    with httpx.Client(base_url=guarded.url, trust_env=False) as stranger:
        refused(stranger.get("/api/state", headers=headers), 401, "invalid_api_key")


def test_programs_may_send_the_token_as_a_header(guarded):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{guarded.url}/api/state", headers=headers).status_code == 200


# Names and origins


@pytest.mark.parametrize("path", ["/", *READ])
def test_a_rebound_name_is_refused(page, path):
    refused(page.http.get(path, headers={"Host": "evil.example"}), 403, "unknown_host")


@pytest.mark.parametrize("path", WRITE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_origin_changes_nothing(page, path, headers):
    before = page.station.last_event
    headers = {**headers, "Content-Type": "application/json"}
    refused(page.http.post(path, content=b"{}", headers=headers), 403, "cross_origin")
    assert page.station.state().question == ""
    assert [e for e in page.station.events_after(before) if e.event.kind == "asked"] == []


@pytest.mark.parametrize("path", READ)
def test_another_origin_shows_nothing(page, path):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    refused(page.http.get(path, headers=headers), 403, "cross_origin")


def test_its_own_origin_and_a_link_from_elsewhere_are_fine(page):
    own = {"Origin": page.url, "Sec-Fetch-Site": "same-origin"}
    assert page.post("/api/cancel", {}, headers=own).status_code == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert page.http.get("/", headers=link).status_code == 200
    refused(page.http.get("/api/state", headers=link), 403, "cross_origin")


@pytest.mark.parametrize("kind", [None, "text/plain", "multipart/form-data", "application/json"])
def test_frames_are_sent_only_as_pages_of_other_origins_cannot(page, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    response = page.http.post("/api/frame", content=b"x", headers=headers)
    refused(response, 415, "unsupported_media_type")


def test_no_origin_is_ever_allowed(page):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for response in (page.http.options("/api/ask", headers=asked), page.http.get("/api/state")):
        assert [name for name in response.headers if name.startswith("access-control")] == []


# What is sent


def bomb():
    """A PNG of 60,000 x 60,000 pixels in a few kilobytes."""

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    side = (60_000).to_bytes(4, "big")
    header = chunk(b"IHDR", side + side + bytes([8, 2, 0, 0, 0]))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def watched():
    """A station that takes a browser's frames."""
    with page_served(station={"source": "browser"}) as served:
        yield served


@pytest.mark.parametrize(
    "content",
    [bomb(), b"", b"not a picture", encoded(picture(1), "JPEG")[:200]],
    ids=["bomb", "nothing", "text", "cut"],
)
def test_frames_that_cannot_be_used_are_one_line(watched, content):
    headers = {"Content-Type": "image/jpeg"}
    response = watched.http.post("/api/frame", content=content, headers=headers)
    assert response.status_code == 400
    assert "\n" not in response.json()["error"]["message"]
    assert watched.station.status().state != "live"


def test_frames_have_a_length(watched):
    headers = {"Content-Type": "image/jpeg"}
    response = watched.http.post("/api/frame", content=bytes(5 << 20), headers=headers)
    refused(response, 413, "request_too_large")


def test_frames_are_wanted_only_while_the_browser_is_the_camera(page):
    headers = {"Content-Type": "image/jpeg"}
    response = page.http.post("/api/frame", content=encoded(picture(1), "JPEG"), headers=headers)
    assert response.status_code == 400


def test_a_long_question_is_not_even_read(page):
    response = page.post("/api/ask", {"question": "x" * (300 << 10)})
    assert response.status_code == 413


def test_only_so_many_pages_follow(page, monkeypatch):
    monkeypatch.setattr("awares_edge.camera.web.feed.MAX_PAGES", 1)

    def follows():
        with page.http.stream("GET", "/api/events") as response:
            return response.status_code == 200

    with page.http.stream("GET", "/api/events") as first:
        lines = first.iter_lines()  # kept: without it the connection is closed
        assert next(lines) == ": hello"
        refused(page.http.get("/api/events"), 503, "too_many")
    wait_until(follows)
