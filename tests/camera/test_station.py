"""A station: questions about what a camera sees, followed by any number of readers."""

import io
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge import CameraError, InputError, QuestionError, SessionError
from awares_edge.camera import Station, StationOptions
from awares_edge.camera.frames import encode_jpeg
from awares_edge.camera.sources.pushed import PushedSource
from tests.camera.fakes import DrivenSource, SteadySource, noise, wait_until

CALL = "GET_CROPS: ['3']"
SIZE = (560, 448)


class Setup:
    """A station over sources that the test drives, and a scripted model."""

    def __init__(self, *replies, source=None, protocol="paper", model=None, **options):
        self.model = model or awares_edge.scripted(replies, protocol=protocol)
        self.source = source or SteadySource(lambda number: noise(number, SIZE))
        self.sources = {"first": self.source, "second": SteadySource(name="second")}
        self.sources["browser"] = PushedSource()
        options = StationOptions(source="first", offered=("second",), **options)
        self.station = Station(self.model, options, opener=lambda spec: self.sources[spec])

    def kinds(self):
        return [event.event.kind for event in self.station.events_after(0)]

    def of_kind(self, *kinds):
        events = self.station.events_after(0)
        return [event.event for event in events if event.event.kind in kinds]

    def answered(self, count=1):
        wait_until(lambda: len(self.of_kind("answer", "error")) >= count)
        return self.station.history()


@contextmanager
def setup(*replies, **options):
    made = Setup(*replies, **options)
    try:
        with made.station:
            yield made
    finally:
        made.model.close()


def test_a_question_is_answered_about_the_newest_frame():
    with setup(CALL, "42") as one:
        one.station.wait_ready(30)
        id = one.station.ask("What?")
        (exchange,) = one.answered()
        assert (exchange.question_id, exchange.question, exchange.state) == (id, "What?", "done")
        assert (exchange.answer, exchange.badge, exchange.zoomed) == ("42", "zoomed", True)
        assert exchange.path == "zoomed: bottom-right"
        assert exchange.frame_size == SIZE
        assert exchange.visual_tokens == {"low": 80, "crops": 80, "full": 320}
        assert exchange.rtr == 0.5
        assert [set(turn) for turn in exchange.turns_ms] == [
            {"preprocess", "vision", "prefill", "decode"}
        ] * 2
        assert Image.open(io.BytesIO(exchange.thumbnail)).size == (320, 256)


def test_events_tell_it_as_it_comes():
    with setup(CALL, "42") as one:
        one.station.wait_ready(30)
        one.station.ask("What?")
        one.answered()
        kinds = [kind for kind in one.kinds() if kind not in ("state", "stats")]
        assert kinds == ["asked", "regions", "text", "text", "answer"]
        numbers = [event.number for event in one.station.events_after(0)]
        assert numbers == list(range(1, len(numbers) + 1))
        row = one.of_kind("answer")[0].exchange.to_dict()
        assert row["badge"] == "zoomed"
        assert row["regions"][0] == {
            "id": "3",
            "name": "bottom-right",
            "box": [280, 224, 560, 448],
            "corners": [[280, 224], [560, 224], [560, 448], [280, 448]],
            "tokens": 80,
        }


def test_two_readers_follow_the_same_events_to_the_end():
    with setup("one", "two") as one:
        seen = [[], []]

        def follow(into):
            into.extend(one.station.events(since=0))

        threads = [threading.Thread(target=follow, args=(into,)) for into in seen]
        for thread in threads:
            thread.start()
        for count in (1, 2):
            one.station.ask("What?")
            one.answered(count)
        one.station.close()
        for thread in threads:
            thread.join(30)
        assert seen[0] == seen[1]
        assert [e.event.kind for e in seen[0]].count("answer") == 2


def test_a_follow_up_is_about_the_same_frame_and_sees_the_question_before():
    with setup(CALL, "42", [CALL, "blue"]) as one:
        one.station.wait_ready(30)
        one.station.ask("What?")
        one.answered(1)
        one.station.ask("And?", follow_up=True)
        first, second = one.answered(2)
        assert second.frame == first.frame
        assert second.answer == "blue"
        assert "already-shown:answer" in second.policies


def test_the_embedded_model_follows_up_on_the_frame_without_the_conversation():
    source = SteadySource()
    with setup(CALL, "42", CALL, "blue", source=source, protocol="nano") as one:
        one.station.wait_ready(30)
        one.station.ask("What?")
        one.answered(1)
        one.station.ask("And?", follow_up=True)
        first, second = one.answered(2)
        assert second.frame == first.frame
        assert (second.answer, second.policies) == ("blue", ())
        assert (second.kept_view, second.kept_regions) == (True, 1)


def test_a_follow_up_needs_an_answer_to_follow():
    with setup() as one, pytest.raises(InputError, match="ask a first question"):
        one.station.ask("And?", follow_up=True)
    with setup() as one, pytest.raises(InputError, match="cannot be asked continuously"):
        one.station.ask("And?", follow_up=True, continuous=True)


def test_a_continuous_question_is_asked_about_ever_newer_frames_until_it_is_cancelled():
    with setup(*map(str, range(50))) as one:
        id = one.station.ask("What?", continuous=True)
        assert one.station.state().question == "What?"
        one.answered(4)
        one.station.cancel()
        assert one.station.wait_idle(30)
        done = [e for e in one.station.history() if e.state == "done"]
        assert {exchange.question_id for exchange in done} == {id}
        frames = [exchange.frame for exchange in done]
        assert frames == sorted(set(frames))
        assert [e.answer for e in done] == [str(n) for n in range(len(done))]
        assert one.station.state().question == ""


def test_a_newer_question_takes_the_place_of_the_one_that_stands():
    with setup(*map(str, range(50))) as one:
        one.station.ask("Still?", continuous=True)
        one.answered(1)
        id = one.station.ask("What?")
        assert one.station.wait_idle(30)
        last = one.station.history()[-1]
        assert (last.question_id, last.state) == (id, "done")
        assert {e.question for e in one.station.history()} == {"Still?", "What?"}


class HeldModel:
    """A model whose answers wait for the test."""

    def __init__(self, inner):
        self.inner, self.go, self.begun = inner, threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def open(self, image):
        self.begun.set()
        assert self.go.wait(30)
        return self.inner.open(image)


def test_cancelling_ends_the_exchange_that_runs():
    model = HeldModel(awares_edge.scripted(["never", "yes"]))
    with setup(model=model) as one:
        one.station.ask("What?")
        assert model.begun.wait(30)
        assert one.station.history()[-1].state == "running"
        assert one.station.state().asking == 1
        one.station.cancel()
        model.go.set()
        assert one.station.wait_idle(30)
        (exchange,) = one.answered()
        assert (exchange.state, exchange.badge) == ("cancelled", "")
        (error,) = one.of_kind("error")
        assert error.cancelled


def test_a_model_that_fails_is_reported_and_the_station_goes_on():
    with setup("one") as one:
        one.station.ask("What?")
        one.answered(1)
        one.station.ask("And now?")  # the script has no further reply
        exchange = one.answered(2)[-1]
        assert exchange.state == "failed"
        assert "used up" in exchange.error
        one.model.runtime.script("two")
        one.station.ask("What?")
        assert one.answered(3)[-1].answer == "two"


def test_an_unsure_answer_is_withheld():
    with setup("42", "43", abstain_below=1.0) as one:
        for count in (1, 2):
            one.station.ask("What?")
            one.answered(count)
        for exchange, withheld in zip(one.station.history(), ("42", "43"), strict=True):
            assert (exchange.answer, exchange.withheld) == ("unsure", withheld)
            assert exchange.abstained
            assert 0.9 < exchange.confidence < 1.0
    with setup("42", abstain_below=0.5) as one:
        one.station.ask("What?")
        (exchange,) = one.answered()
        assert (exchange.answer, exchange.withheld, exchange.abstained) == ("42", "", False)


def test_a_preparation_that_fails_is_reported_and_the_station_goes_on():
    def prepare(pixels):
        raise CameraError("no sheet is in sight")

    with setup(prepare=prepare) as one:
        one.station.ask("What?")
        wait_until(lambda: one.of_kind("error"))
        assert one.of_kind("error")[0].message == "no sheet is in sight"
        assert one.station.wait_idle(30)
        assert one.station.history() == []


def test_bad_questions_are_refused_at_once():
    with setup() as one:
        for question in ("", " ", "a" * 100_000):
            with pytest.raises(QuestionError):
                one.station.ask(question)


def test_a_lost_camera_says_why_and_a_question_fails_with_that():
    source = DrivenSource()
    source.refuse = "there is no camera at /dev/video0: plug it in"
    with setup(source=source) as one:
        wait_until(lambda: one.station.status().state == "lost")
        one.station.ask("What?")
        wait_until(lambda: one.of_kind("error"))
        assert one.of_kind("error")[0].message == source.refuse
        wait_until(lambda: any(s.text == source.refuse for s in one.of_kind("state")))
        assert one.station.frame() is None


def test_a_continuous_question_outlives_a_lost_camera():
    source = DrivenSource()
    with setup("before", "after", source=source) as one:
        source.put(noise(0, SIZE))
        one.station.ask("What?", continuous=True)
        one.answered(1)
        source.fail("unplugged")
        wait_until(lambda: one.station.status().text == "unplugged")
        source.put(noise(1, SIZE))
        assert [e.answer for e in one.answered(2)] == ["before", "after"]


def test_the_preview_is_a_jpeg_of_the_newest_frame_with_its_age():
    with setup() as one:
        one.station.wait_ready(30)
        shot = one.station.frame()
        assert Image.open(io.BytesIO(shot.jpeg)).size == shot.size == SIZE
        assert shot.age_ms >= 0
        wait_until(lambda: one.station.frame().number > shot.number)


def test_a_large_frame_is_scaled_down_for_the_preview_only():
    source = SteadySource(lambda n: np.full((2160, 3840, 3), n % 256, np.uint8), still=True)
    with setup(source=source) as one:
        one.station.wait_ready(30)
        shot = one.station.frame()
        assert shot.size == (3840, 2160)
        assert Image.open(io.BytesIO(shot.jpeg)).size == (1280, 720)


def test_what_the_model_saw_can_be_shown():
    with setup(CALL, "42") as one:
        one.station.wait_ready(30)
        one.station.ask("What?")
        one.answered()
        seen = one.station.views(1)
        assert seen.first.size == (280, 224)
        assert [(name, crop.size) for name, crop in seen.crops] == [("bottom-right", (280, 224))]
        assert Image.open(io.BytesIO(one.station.frame_of(1))).size == SIZE
        assert one.station.views(2) is None


def test_another_source_may_be_chosen_among_those_that_are_offered():
    with setup("one", "two") as one:
        assert [s.spec for s in one.station.sources()][:2] == ["driven", "second"]
        one.station.use_source("second")
        wait_until(lambda: one.station.status().state == "live")
        assert one.station.state().source == "second"
        assert one.source.closed
        one.station.ask("What?")
        assert one.answered()[-1].frame_size == (448, 448)
        for spec in ("/etc/passwd", "videotestsrc ! filesink location=/tmp/x", "first"):
            with pytest.raises(InputError, match=r"no source .* is offered here"):
                one.station.use_source(spec)


def test_a_browser_pushes_frames_while_it_is_the_source():
    with setup("one") as one:
        with pytest.raises(InputError, match="only while the source is browser"):
            one.station.push_frame(encode_jpeg(noise()))
        one.station.use_source("browser")
        one.station.push_frame(encode_jpeg(noise()))
        one.station.ask("What?")
        assert one.answered()[-1].answer == "one"


def test_numbers_are_told_once_a_second():
    with setup(CALL, "42", "direct") as one:
        for count in (1, 2):
            one.station.ask("What?")
            one.answered(count)
        wait_until(lambda: any(s.answers == 2 for s in one.of_kind("stats")))
        stats = one.station.stats()
        assert (stats.answers, stats.zoomed) == (2, 1)
        assert (stats.visual_tokens, stats.full_tokens) == (240, 640)
        assert stats.average_ms > 0
        assert stats.fps > 0
        assert stats.load.ram_total_mb > stats.load.ram_mb > 0
        assert stats.load.process_mb > 10


def test_another_model_answers_from_then_on():
    with setup("old") as one:
        one.station.ask("What?")
        one.answered(1)
        other = awares_edge.scripted(["new"])
        one.station.use_model(other)
        one.model.close()
        one.station.ask("What?")
        assert one.answered(2)[-1].answer == "new"


def test_closing_ends_everything_and_may_be_done_twice():
    before = threading.active_count()
    with setup(*map(str, range(50))) as one:
        one.station.ask("What?", continuous=True)
        one.answered(1)
        one.station.close()
        one.station.close()
        with pytest.raises(SessionError, match="closed"):
            one.station.ask("What?")
        assert one.source.closed
    wait_until(lambda: threading.active_count() <= before)


def test_old_exchanges_are_forgotten():
    with setup("one", "two", "three", history=2) as one:
        for count in (1, 2, 3):
            one.station.ask("What?")
            one.answered(count)
        assert [e.answer for e in one.station.history()] == ["two", "three"]
        assert one.station.exchange(1) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"every": -1},
        {"every": float("nan")},
        {"max_age_ms": 0},
        {"max_age_ms": float("inf")},
        {"history": 0},
        {"abstain_below": 1.1},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        StationOptions(**wrong)
