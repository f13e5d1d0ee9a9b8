"""What the page's server answers, without a browser."""

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

import awares_edge
from awares_edge.camera.web.app import static_files
from awares_edge.camera.web.guard import POLICY
from awares_edge.camera.web.options import PageOptions
from awares_edge.errors import InputError
from tests.camera.page_support import CALL, LosableSource, page_served
from tests.serve.support import encoded, picture, wait_until

STATIC = Path(awares_edge.__file__).parent / "camera" / "web" / "static"


@pytest.fixture(scope="module")
def page():
    with page_served(opener=lambda _: LosableSource()) as served:
        wait_until(lambda: served.station.status().state == "live")
        yield served


def asked(page, *replies, **body):
    """The exchange of a question that was answered."""
    page.script(*replies)
    response = page.post("/api/ask", {"question": "What?", **body})
    assert response.status_code == 200, response.text
    number = response.json()["question_id"]
    wait_until(lambda: page.last().question_id == number)
    return page.last()


def size(response):
    assert response.headers["content-type"] == "image/jpeg"
    return Image.open(io.BytesIO(response.content)).size


# The page itself


def test_the_page_and_its_files_are_served(page):
    assert page.http.get("/").text == (STATIC / "index.html").read_text("utf-8")
    for name in static_files():
        response = page.http.get(f"/static/{name}")
        assert response.content == (STATIC / name).read_bytes()
        assert response.headers["x-content-type-options"] == "nosniff"
    kinds = {n: page.http.get(f"/static/{n}").headers["content-type"] for n in static_files()}
    assert kinds["app.js"] == "text/javascript; charset=utf-8"
    assert kinds["base.css"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("path", ["/static/nothing.js", "/static/", "/static/..%2fapp.py", "/x"])
def test_nothing_else_is(page, path):
    response = page.http.get(path)
    assert response.status_code == 404
    assert list(response.json()) == ["error"]


def test_the_files_name_no_other_place():
    """Nothing to fetch, nothing inline; names of XML dialects are no addresses that are opened."""
    for name, data in static_files().items():
        found = re.findall(r"(?:https?:)?//[\w.]+", re.sub(r"(?m)(^|\s)//.*$", "", data.decode()))
        assert [url for url in found if url != "http://www.w3.org"] == [], name
    html = static_files()["index.html"].decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)", html)
    assert "innerHTML" not in "".join(data.decode() for data in static_files().values())


def test_every_response_carries_the_policy(page):
    for path in ("/", "/static/app.js", "/api/state", "/api/frame.jpg", "/nowhere"):
        headers = page.http.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "unsafe" not in headers["content-security-policy"]


def test_what_is_private_is_not_cached(page):
    for path in ("/api/state", "/api/frame.jpg"):
        assert page.http.get(path).headers["cache-control"] == "no-store"


# Frames


def test_the_newest_frame_and_then_a_newer_one(page):
    first = page.http.get("/api/frame.jpg")
    assert size(first) == (448, 448)
    second = page.http.get("/api/frame.jpg", params={"after": first.headers["x-frame"]})
    assert int(second.headers["x-frame"]) > int(first.headers["x-frame"])


def test_without_a_newer_frame_there_is_none():
    source = LosableSource()
    with page_served(opener=lambda _: source) as page:
        wait_until(lambda: page.station.status().state == "live")
        source.unplugged.set()
        wait_until(lambda: page.station.status().state == "lost")
        number = page.http.get("/api/frame.jpg").headers["x-frame"]
        response = page.http.get("/api/frame.jpg", params={"after": number})
        assert (response.status_code, response.content) == (204, b"")
        assert "the cable is out" in page.http.get("/api/state").json()["state"]["text"]


# Questions


def test_a_zoomed_answer_and_its_pictures(page):
    exchange = asked(page, CALL, "EXIT")
    shown = page.http.get("/api/state").json()["exchanges"][-1]
    assert shown == json.loads(json.dumps(exchange.to_dict()))
    assert (shown["answer"], shown["badge"], len(shown["regions"])) == ("EXIT", "zoomed", 1)
    pictures = f"/api/exchanges/{exchange.id}"
    assert size(page.http.get(f"{pictures}/frame.jpg")) == (448, 448)
    assert max(size(page.http.get(f"{pictures}/thumb.jpg"))) == 320
    first = size(page.http.get(f"{pictures}/first.jpg"))
    left, top, right, bottom = exchange.regions[0].box
    assert size(page.http.get(f"{pictures}/crop-0.jpg")) == (right - left, bottom - top)
    assert max(first) < 448


@pytest.mark.parametrize("name", ["crop-1", "crop--1", "crop-9999", "..", "%2e%2e%2fframe", "x"])
def test_pictures_that_are_not_there(page, name):
    exchange = asked(page, CALL, "EXIT")
    assert page.http.get(f"/api/exchanges/{exchange.id}/{name}.jpg").status_code == 404
    assert page.http.get("/api/exchanges/99999/first.jpg").status_code == 404


def test_a_follow_up_is_about_the_same_frame(page):
    first = asked(page, "yes")
    second = asked(page, "no", follow_up=True)
    assert (second.follow_up, second.frame) == (True, first.frame)


def test_a_continuous_question_is_asked_again_until_it_is_stopped():
    with page_served(*["yes"] * 500) as page:

        def question():
            return page.http.get("/api/state").json()["state"]["question"]

        page.post("/api/ask", {"question": "Still?", "continuous": True, "every": 0.01})
        wait_until(lambda: question() == "Still?")
        wait_until(lambda: page.station.stats().unchanged or len(page.station.history()) > 2)
        assert page.post("/api/cancel", {}).status_code == 200
        wait_until(lambda: question() == "")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"question": ""},
        {"question": 7},
        {"question": "x" * 40_000},
        {"question": "What?", "every": -1},
        {"question": "What?", "every": 1e9},
        {"question": "What?", "path": "/etc/passwd"},
        {"question": "What?", "follow_up": True, "continuous": True},
        [],
    ],
)
def test_questions_that_cannot_be_asked(page, body):
    before = len(page.station.history())
    response = page.post("/api/ask", body)
    assert response.status_code == 400
    assert "\n" not in response.json()["error"]["message"]
    assert len(page.station.history()) == before


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"question": NaN}', b'{"a":' * 9000])
def test_what_is_not_json_is_refused(page, content):
    headers = {"Content-Type": "application/json"}
    response = page.http.post("/api/ask", content=content, headers=headers)
    assert response.status_code == 400
    assert list(response.json()) == ["error"]


# Events


def events(page, until, path="/api/events"):
    """Events until one of this kind, whose exchange is done where it has one."""
    found = []
    with page.http.stream("GET", path) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line == ": hello":
                yield None
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
                if until(found[-1]):
                    break
    yield found


def test_events_hold_whole_exchanges(page):
    page.script(CALL, "EXIT")
    following = events(page, lambda e: e.get("exchange", {}).get("state") == "done")
    next(following)
    page.post("/api/ask", {"question": "Where?"})
    found = [event["exchange"] for event in next(following) if event["kind"] == "exchange"]
    assert {exchange["question"] for exchange in found} == {"Where?"}
    assert (found[-1]["answer"], found[-1]["badge"]) == ("EXIT", "zoomed")


def test_numbers_come_by_themselves(page):
    following = events(page, lambda e: e["kind"] == "stats")
    next(following)
    stats = next(following)[-1]
    assert stats["fps"] >= 0
    assert stats["load"]["process_mb"] > 0


# Choices


def test_a_source_is_chosen_from_those_that_are_offered():
    with page_served(station={"source": "synthetic"}) as page:
        choices = page.http.get("/api/choices").json()
        assert [source["spec"] for source in choices["sources"]][:2] == ["synthetic", "browser"]
        assert page.post("/api/source", {"source": "browser"}).status_code == 200
        assert page.http.get("/api/choices").json()["source"] == "browser"
        for spec in ("/etc/passwd", "rtsp://127.0.0.1:9/x", "videotestsrc ! videoconvert"):
            refused = page.post("/api/source", {"source": spec})
            assert refused.status_code == 400
        assert page.http.get("/api/choices").json()["source"] == "browser"


def test_the_browsers_frames_are_the_camera_then():
    with page_served(station={"source": "browser"}) as page:
        jpeg = encoded(picture(1, (320, 240)), "JPEG")

        def push():
            headers = {"Content-Type": "image/jpeg"}
            return page.http.post("/api/frame", content=jpeg, headers=headers).status_code == 200

        wait_until(lambda: push() and page.station.status().state == "live")
        assert size(page.http.get("/api/frame.jpg")) == (320, 240)


def test_another_model_takes_over(page):
    with page_served("one") as served:
        wait_until(lambda: served.station.status().state == "live")
        assert asked(served, "one").answer == "one"
        old = served.models.model
        assert served.post("/api/model", {"model": "other"}).json()["name"] == "other"
        served.models.model.runtime.script("two")
        assert served.post("/api/ask", {"question": "What?"}).status_code == 200
        wait_until(lambda: [e.answer for e in served.station.history()] == ["one", "two"])
        with pytest.raises(awares_edge.SessionError):
            old.ask(picture(0), "What?")


@pytest.mark.parametrize("name", ["nothing", "/etc", "../other", ""])
def test_a_model_that_is_not_offered_is_refused(page, name):
    assert page.post("/api/model", {"model": name}).status_code == 400
    assert page.http.get("/api/choices").json()["model"] == "scripted"


def test_recording_needs_a_folder(page):
    response = page.post("/api/record", {"on": True})
    assert response.status_code == 400
    assert "folder" in response.json()["error"]["message"]


@pytest.mark.parametrize("wrong", [{"token": "short"}, {"drain": 0}, {"max_body": 10}])
def test_options_are_checked(wrong):
    with pytest.raises(InputError):
        PageOptions(**wrong)
