"""The page in a real browser: questions, answers, cameras. All but one smoke test are slow."""

import re
from contextlib import contextmanager

import pytest

import awares_edge
from tests.camera.page_support import (
    CALL,
    LosableSource,
    answered,
    ask,
    live,
    page_served,
    text,
    until,
    visiting,
)
from tests.serve.support import Brake, wait_until


def test_a_zoomed_answer_is_shown_with_all_that_led_to_it(browser, still):
    still.script(CALL, "EXIT")
    with visiting(browser, still) as tab:
        ask(live(tab), "What does the sign say?")
        answered(tab, "EXIT")
        assert text(tab, "#badges").startswith("zoomed: ")
        # The rectangle is on the frame, at the region's own pixels, in the strip and on the stage.
        region = still.last().regions[0]
        left, top, right, bottom = region.box
        for place in ("#asked", "#pictures"):
            tab.wait_for_selector(f"{place} polygon.region", state="attached")
            points = tab.get_attribute(f"{place} polygon.region", "points")
            numbers = [float(n) for n in re.split("[ ,]", points)]
            assert numbers == [left, top, right, top, right, bottom, left, bottom]
            assert tab.get_attribute(f"{place} .marked svg", "viewBox") == "0 0 448 448"
        drawn = tab.eval_on_selector("#asked polygon.region", "e => e.getScreenCTM().a")
        stage = tab.locator("#asked .marked").bounding_box()
        scale = min(stage["width"], stage["height"]) / 448
        assert drawn == pytest.approx(scale, rel=0.01)
        # Frame, first view, crop: all loaded.
        until(tab, "document.querySelectorAll('#pictures img').length === 3")
        sizes = tab.evaluate(
            "[...document.querySelectorAll('#pictures img')].map(i => i.naturalWidth)"
        )
        assert sizes[0] == 448
        assert sizes[2] == right - left
        tokens = still.last().visual_tokens
        spent = tokens["low"] + tokens["crops"]
        said = text(tab, ".tokens")
        assert f"{spent} of {tokens['full']} visual tokens" in said
        assert f"RTR {still.last().rtr:.2f}" in said
        rows = tab.locator(".phases tbody th").all_inner_texts()
        assert rows == ["preprocess", "vision", "prefill", "decode", "all"]
        assert tab.locator(".phases thead th").all_inner_texts() == [
            "ms",
            "turn 1",
            "turn 2",
            "sum",
        ]
        assert text(tab, "#announce").startswith("EXIT, zoomed")


@pytest.mark.slow
class TestAsking:
    def test_a_direct_answer_shows_no_rectangle(self, browser, still):
        still.script("yes")
        with visiting(browser, still) as tab:
            ask(live(tab), "Is there a sign?")
            answered(tab, "yes")
            assert tab.locator("#badges .badge").all_inner_texts()[0] == "direct"
            until(tab, "document.querySelectorAll('#pictures img').length === 2")
            assert tab.locator("polygon").count() == 0

    def test_an_answer_streams(self, browser, still, monkeypatch):
        brake = Brake(monkeypatch)
        words = "one two three four five six seven eight nine ten"
        still.script(words)
        with visiting(browser, still) as tab:
            ask(live(tab), "Count!")
            tab.wait_for_selector("#answer-text.pulse")
            monkeypatch.undo()
            slow = Brake(monkeypatch, seconds=0.1)
            brake.go.set()
            until(tab, "/^one two/.test(document.querySelector('#answer-text').textContent)")
            assert tab.get_attribute("#answer-text", "aria-busy") == "true"
            assert len(text(tab, "#answer-text")) < len(words)
            assert tab.is_enabled("#stop")
            slow.go.set()
            answered(tab, words)

    def test_stop_ends_an_answer(self, browser, still, monkeypatch):
        Brake(monkeypatch, seconds=0.05)
        still.script("word " * 400)
        with visiting(browser, still) as tab:
            ask(live(tab), "Talk!")
            tab.wait_for_selector("#answer-text:has-text('word')")
            tab.click("#stop")
            assert still.last("cancelled").state == "cancelled"
            tab.wait_for_selector("#stop:disabled")

    def test_a_follow_up_is_asked_about_the_same_frame(self, browser, still):
        still.script("a sign", "red")
        with visiting(browser, still) as tab:
            assert live(tab).is_disabled("#ask-follow")
            ask(tab, "What is there?")
            answered(tab, "a sign")
            tab.fill("#question", "Which colour?")
            tab.click("#ask-follow:enabled")
            answered(tab, "red")
            first, second = still.station.history()
            assert (second.follow_up, second.frame) == (True, first.frame)
            assert text(tab, "#answer-question") == "↳ Which colour?"

    def test_continuous_questions_keep_the_live_view(self, browser, still):
        still.script(*["yes"] * 500)
        with visiting(browser, still) as tab:
            live(tab).fill("#question", "Still there?")
            tab.select_option("#interval", "0")
            tab.click("#continuous")
            tab.wait_for_selector("#continuous[aria-pressed=true]")
            answered(tab, "yes")
            assert tab.is_visible("#live")
            before = int(tab.get_attribute("#live", "data-frame"))
            until(tab, f"document.querySelector('#live').dataset.frame > {before}")
            # The same answer again is the same entry.
            assert tab.locator("#history button").count() == 1
            tab.click("#continuous")
            tab.wait_for_selector("#continuous[aria-pressed=false]")
            assert still.station.state().question == ""

    def test_a_question_that_stands_already_is_shown(self, browser):
        with page_served(*["yes"] * 50, station={"every": 7.0}) as served:
            served.station.ask("Is it there?", continuous=True)
            with visiting(browser, served) as tab:
                answered(live(tab), "yes")
                tab.wait_for_selector("#continuous[aria-pressed=true]")
                assert tab.input_value("#question") == "Is it there?"
                assert tab.input_value("#interval") == "7"

    def test_a_continuous_question_marks_the_live_view(self, browser, still):
        still.script(*[CALL, "EXIT"] * 100)
        with visiting(browser, still) as tab:
            live(tab).fill("#question", "Which way?")
            tab.click("#continuous")
            answered(tab, "EXIT")
            left, top, right, bottom = still.last().regions[0].box
            points = tab.get_attribute("#live-marks:visible polygon.region", "points")
            assert points == f"{left},{top} {right},{top} {right},{bottom} {left},{bottom}"
            assert tab.get_attribute("#live-marks", "viewBox") == "0 0 448 448"
            # The drawing has the canvas' scale.
            scale = tab.eval_on_selector("#live-marks polygon.region", "e => e.getScreenCTM().a")
            canvas = tab.locator("#live").bounding_box()
            assert scale == pytest.approx(min(canvas["width"], canvas["height"]) / 448, rel=0.01)
            tab.click("#stop")
            tab.wait_for_selector("#live-marks polygon", state="detached")

    def test_a_look_back_stays_while_a_question_is_continuous(self, browser, still):
        still.script("first", *["again"] * 5)
        with visiting(browser, still) as tab:
            ask(live(tab), "What?")
            answered(tab, "first")
            tab.fill("#question", "Still?")
            tab.click("#continuous")
            answered(tab, "again")
            tab.click("#history button >> nth=1")
            answered(tab, "first")
            still.station.use_source("synthetic")  # which ends the question
            still.script("later")
            still.station.ask("And now?", continuous=True)
            tab.wait_for_selector("#history .a:text-is('later')")
            assert text(tab, "#answer-text") == "first"

    def test_history_brings_an_answer_back(self, browser, still):
        still.script(CALL, "EXIT", "yes")
        with visiting(browser, still) as tab:
            ask(live(tab), "What is written there?")
            answered(tab, "EXIT")
            ask(tab, "Is it red?")
            answered(tab, "yes")
            assert tab.locator("#history button").count() == 2
            until(
                tab, "[...document.querySelectorAll('#history img')].every(i => i.naturalWidth > 0)"
            )
            tab.click("#history button >> nth=1")
            answered(tab, "EXIT")
            tab.wait_for_selector("#asked polygon.region")
            # The conversation is about the newest frame.
            assert tab.is_disabled("#ask-follow")
            tab.reload()
            live(tab)
            assert tab.locator("#history button").count() == 2

    def test_reasoning_is_folded_away(self, browser):
        model = awares_edge.scripted(
            ["<think>It is round.</think><answer>a ball</answer>"], protocol="visionthink"
        )
        with page_served(model=model) as served, visiting(browser, served) as tab:
            ask(live(tab), "What is it?")
            answered(tab, "a ball")
            assert tab.is_hidden("#reasoning p")
            tab.click("#reasoning summary")
            assert text(tab, "#reasoning p") == "It is round."

    @pytest.mark.parametrize(
        ("fields", "badges"),
        [
            ({"confidence": 0.31}, ["direct", "unsure", "confidence 31 %"]),
            ({"confidence": 0.97}, ["direct", "confidence 97 %"]),
            ({"confidence": 0.9998}, ["direct", "confidence over 99 %"]),
            ({"confidence": 0.6, "abstained": True}, ["direct", "unsure", "confidence 60 %"]),
            ({"confidence": None}, ["direct"]),
        ],
    )
    def test_how_sure_the_model_is(self, browser, still, fields, badges):
        still.script("a sign")
        still.station.ask("What is it?")
        body = {**still.last().to_dict(), **fields}
        with visiting(browser, still, "/static/icon.svg") as tab:

            def changed(route):
                state = still.http.get("/api/state").json()
                route.fulfill(json={**state, "exchanges": [body]})

            tab.route("**/api/state", changed)
            tab.goto(still.url)
            live(tab)
            tab.wait_for_selector("#badges .badge")
            assert tab.locator("#badges .badge").all_inner_texts() == badges

    def test_an_answer_that_is_withheld(self, browser):
        with (
            page_served("yes", station={"abstain_below": 0.999}) as served,
            visiting(browser, served) as tab,
        ):
            ask(live(tab), "Is it red?")
            answered(tab, "unsure")
            assert "unsure" in tab.locator("#badges .badge").all_inner_texts()
            assert tab.is_hidden("#withheld p")
            tab.click("#withheld summary")
            assert text(tab, "#withheld p") == "yes"

    def test_an_answer_is_text_whatever_it_says(self, browser, still):
        evil = "<img src=https://evil.example/x onerror=alert(1)><script>alert(2)</script>"
        still.script(evil)
        with visiting(browser, still) as tab:
            ask(live(tab), evil)
            tab.wait_for_selector("#answer-text[aria-busy=false]:has-text('script')")
            assert text(tab, "#answer-text") == evil
            assert text(tab, "#answer-question") == evil
            assert tab.locator("#answer img").count() == 0

    def test_the_presets_are_what_the_scene_suggests(self, browser):
        with page_served("42") as served, visiting(browser, served) as tab:
            live(tab).wait_for_selector("#presets button")
            wanted = served.station.state().suggestions[:6]
            assert tuple(tab.locator("#presets button").all_inner_texts()) == wanted
            tab.click("#presets button >> nth=0")
            answered(tab, "42")
            assert served.last().question == wanted[0]


@pytest.mark.slow
class TestCameras:
    def test_a_lost_camera_says_so_and_comes_back(self, browser):
        source = LosableSource()
        with (
            page_served("yes", opener=lambda _: source) as served,
            visiting(browser, served) as tab,
        ):
            live(tab)
            source.unplugged.set()
            tab.wait_for_selector("#link.off:has-text('lost')")
            assert "the cable is out" in text(tab, "#lost")
            source.unplugged.clear()
            live(tab)
            assert tab.is_hidden("#lost")
            ask(tab, "Are you back?")
            answered(tab, "yes")

    def test_the_browsers_own_camera(self, browser):
        with (
            page_served("a clock") as served,
            visiting(browser, served, permissions=["camera"]) as tab,
        ):
            live(tab).click("#setup-open")
            tab.wait_for_selector("#source option[value=browser]", state="attached")
            tab.select_option("#source", "browser")
            tab.click("#setup-apply")
            tab.wait_for_selector("#setup", state="hidden")
            wait_until(lambda: served.station.status().state == "live")
            before = served.station.frame().number
            wait_until(lambda: served.station.frame().number > before + 3)
            assert served.station.frame().size == (1280, 960)
            ask(tab, "What is there?")
            answered(tab, "a clock")
            assert served.last().frame_size == (1280, 960)
            # Another choice ends it.
            tab.click("#setup-open")
            tab.wait_for_selector("#source option[value=synthetic]", state="attached")
            tab.select_option("#source", "synthetic")
            tab.click("#setup-apply")
            tab.wait_for_selector("#setup", state="hidden")
            wait_until(lambda: (f := served.station.frame()) and f.size == (448, 448))

    def test_another_model_is_chosen(self, browser, still):
        with visiting(browser, still) as tab:
            live(tab).click("#setup-open")
            tab.wait_for_selector("#choice option[value=other]", state="attached")
            assert "needs llama_cpp" in text(tab, "#choice option[value=absent]")
            assert tab.get_attribute("#choice option[value=absent]", "disabled") is not None
            tab.select_option("#choice", "other")
            tab.click("#setup-apply")
            tab.wait_for_selector("#model:has-text('other')")
            tab.wait_for_selector("#setup", state="hidden")
            still.models.model.runtime.script("it is another")
            ask(tab, "Who are you?")
            answered(tab, "it is another")

    def test_recording(self, browser, tmp_path):
        with (
            page_served(station={"record_to": tmp_path / "kept"}) as served,
            visiting(browser, served) as tab,
        ):
            live(tab).click("#record:enabled")
            tab.wait_for_selector("#record[aria-pressed=true]")
            assert served.station.state().recording
            tab.click("#record")
            tab.wait_for_selector("#record[aria-pressed=false]")

    def test_a_server_that_went_away_is_said(self, browser):
        with visiting_after_the_end(browser) as tab:
            tab.wait_for_selector("#link.off:has-text('server away')")


@contextmanager
def visiting_after_the_end(browser):
    """A tab whose server has ended."""
    with browser.new_context() as context:
        tab = context.new_page()
        with page_served() as served:
            tab.goto(served.url)
            live(tab)
        yield tab
