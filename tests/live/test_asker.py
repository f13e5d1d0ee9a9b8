"""Questions about live frames: answers, deadlines, the newest frame, cancelling, closing."""

import math
import threading

import pytest

import awares_edge
from awares_edge import (
    AskOptions,
    Cancelled,
    DeadlineExceeded,
    FrameSuperseded,
    FrameTooOld,
    ImageError,
    InputError,
    QuestionError,
    QueueFull,
    SessionError,
    live,
)
from awares_edge.live import Frame, LiveAsker
from tests.live.support import CALL, PIXELS, Clock, asking, frame, worker_held


class TestAnswering:
    def test_an_answer_is_the_models_own(self):
        expected = awares_edge.scripted([CALL, "red"]).ask(PIXELS, "?")
        with asking(CALL, "red") as (asker, _):
            answer = asker.submit(frame(), "?").result()
        assert (answer.text, answer.crops) == (expected.text, expected.crops)
        assert answer.visual_tokens == expected.visual_tokens

    def test_events_tell_what_happened_in_order(self):
        with asking(CALL, "red") as (asker, events):
            ticket = asker.submit(frame(stamp="header 7"), "?")
            ticket.result()
        kinds = [type(event) for event in events]
        shown = [kind for kind in kinds if kind is not live.Text]
        assert shown == [live.Started, live.Regions, live.Answered]
        behind = events[kinds.index(live.Regions) :]
        assert "".join(e.text for e in behind if isinstance(e, live.Text)) == "red"
        assert events[-1].answer.crops == next(
            e.crops for e in events if isinstance(e, live.Regions)
        )
        assert {event.ticket.frame.stamp for event in events} == {"header 7"}

    def test_thoughts_are_told_apart_from_the_answer(self):
        thinking = "<think>a sign</think><answer>red</answer>"
        model = awares_edge.scripted([thinking], protocol="visionthink")
        with asking(model=model) as (asker, _):
            events = list(asker.submit(frame(), "?").events())
        thoughts = "".join(e.text for e in events if isinstance(e, live.Thought))
        assert "a sign" in thoughts
        assert "".join(e.text for e in events if isinstance(e, live.Text)) == "red"

    def test_a_ticket_tells_its_events_to_a_reader_that_comes_late(self):
        with asking("red") as (asker, events):
            ticket = asker.submit(frame(), "?")
            ticket.result()
            late = list(ticket.events())
        assert late == list(events)

    def test_a_second_question_about_a_frame_uses_what_was_computed_of_it(self):
        first = frame()
        with asking("red", "blue", "green") as (asker, _):
            asker.submit(first, "?").result()
            again = asker.submit(first, "?").result()
            other = asker.submit(frame(), "?").result()
        assert again.turns[0].prefill_tokens < other.turns[0].prefill_tokens

    def test_only_the_picture_of_the_last_frame_is_kept(self, monkeypatch):
        closed, close = [], awares_edge.Picture.close
        monkeypatch.setattr(
            awares_edge.Picture, "close", lambda self: closed.append(self) or close(self)
        )
        with asking(*["red"] * 3) as (asker, _):
            for _ in range(3):
                asker.submit(frame(), "?").result()
            assert len(closed) == 2
        assert len(set(closed)) == 3

    def test_it_is_busy_from_the_start_of_a_question_to_its_result(self):
        with asking("held") as (asker, _):
            assert not asker.busy
            with worker_held(asker) as held:
                assert asker.busy
            held.result()
            assert not asker.busy

    def test_a_follow_up_sees_the_question_before_it(self):
        with asking("red", "blue", "green") as (asker, _):
            ticket = asker.submit(frame(), "What?")
            ticket.result()
            alone = asker.submit(ticket.frame, "Why?").result()
            follow = asker.submit(ticket.frame, "Why?", follow_up=True).result()
        assert follow.turns[0].reused_tokens > alone.turns[0].reused_tokens

    def test_options_reach_the_model(self):
        with asking("red") as (asker, _):
            answer = asker.submit(frame(), "?", AskOptions(mode="full")).result()
        assert answer.view == "full"

    def test_two_askers_share_a_model(self):
        model, one = awares_edge.scripted(["red"] * 8), frame()
        with (
            model,
            LiveAsker(model, clock=Clock()) as left,
            LiveAsker(model, clock=Clock()) as right,
        ):
            tickets = [asker.submit(one, "?") for asker in (left, right) * 4]
            assert [ticket.result().text for ticket in tickets] == ["red"] * 8


class TestSources:
    def test_a_source_is_asked_for_its_frame_when_the_worker_is_free(self):
        latest = live.LatestFrame()
        with asking("red", "blue") as (asker, _):
            with worker_held(asker):
                ticket = asker.submit(latest, "?")
                latest.put(frame(1.0))
                latest.put(frame(2.0, "newest"))
                assert ticket.frame is None
            assert ticket.result().text == "blue"
        assert ticket.frame.stamp == "newest"

    def test_a_source_without_a_frame_ends_the_question(self):
        with asking() as (asker, _):
            ticket = asker.submit(live.LatestFrame(), "?")
            with pytest.raises(FrameTooOld, match="no frame yet"):
                ticket.result()
        assert ticket.status == "too old"

    def test_a_question_about_a_source_is_not_superseded(self):
        with asking("red", "blue", "green") as (asker, _):
            with worker_held(asker):
                ticket = asker.submit(lambda: frame(0.5), "?")
                asker.submit(frame(9.0), "?")
            assert ticket.result().text == "blue"

    def test_the_newest_frame_stays_when_an_older_one_comes_late(self):
        latest = live.LatestFrame()
        assert latest() is None
        newer = frame(2.0)
        latest.put(newer)
        latest.put(frame(1.0))
        assert latest() is newer

    def test_waiting_for_another_frame(self):
        latest = live.LatestFrame()
        assert latest.newer_than(None, timeout=0) is None
        first, second = frame(1.0), frame(2.0)
        latest.put(first)
        assert latest.newer_than(None) is first
        assert latest.newer_than(first, timeout=0) is None
        threading.Timer(0.01, latest.put, (second,)).start()
        assert latest.newer_than(first, timeout=30) is second


class TestNewestFrameWins:
    def test_a_waiting_question_gives_way_to_one_about_a_newer_frame(self):
        with asking("red", "blue") as (asker, _):
            with worker_held(asker):
                older = asker.submit(frame(1.0), "?")
                newer = asker.submit(frame(2.0), "?")
                assert (older.status, newer.status) == ("superseded", "waiting")
            with pytest.raises(FrameSuperseded, match="newer frame"):
                older.result()
            assert newer.result().text == "blue"
            assert asker.counts() == {"answered": 2, "superseded": 1}

    def test_a_question_about_an_older_frame_gives_way_at_once(self):
        with asking("red", "blue") as (asker, _):
            with worker_held(asker):
                newer = asker.submit(frame(2.0), "?")
                assert asker.submit(frame(1.0), "?").status == "superseded"
            assert newer.result().text == "blue"

    def test_questions_about_the_same_frame_all_wait(self):
        one = frame(1.0)
        with asking("held", "red", "blue") as (asker, _):
            with worker_held(asker):
                tickets = [asker.submit(one, "What?"), asker.submit(one, "Why?")]
                assert asker.waiting == 2
            assert [ticket.result().text for ticket in tickets] == ["red", "blue"]

    def test_a_queue_keeps_them_all(self):
        with asking("held", "red", "blue", policy="queue") as (asker, _):
            with worker_held(asker):
                tickets = [asker.submit(frame(taken), "?") for taken in (2.0, 1.0)]
            assert [ticket.result().text for ticket in tickets] == ["red", "blue"]


class TestBackPressure:
    @pytest.mark.parametrize("policy", ["newest", "queue"])
    def test_a_question_too_many_is_refused(self, policy):
        one = frame(1.0)
        with asking("held", "red", "blue", policy=policy, most_waiting=2) as (asker, _):
            with worker_held(asker):
                tickets = [asker.submit(one, "?") for _ in range(2)]
                with pytest.raises(QueueFull, match="2 questions wait"):
                    asker.submit(one, "?")
            assert [ticket.result().text for ticket in tickets] == ["red", "blue"]

    def test_a_newer_frame_makes_room(self):
        with asking("held", "red", most_waiting=1) as (asker, _):
            with worker_held(asker):
                asker.submit(frame(1.0), "?")
                newer = asker.submit(frame(2.0), "?")
            assert newer.result().text == "red"


class TestTime:
    def test_a_frame_that_is_too_old_is_not_begun(self):
        clock = Clock()
        with asking("red", "blue", max_age_ms=500, clock=clock) as (asker, events):
            clock.now = 1.0
            stale = asker.submit(frame(0.4), "?")
            with pytest.raises(FrameTooOld, match="600 ms old; the limit is 500 ms"):
                stale.result()
            assert asker.submit(frame(0.6), "?").result().text == "red"
        assert [type(e) for e in events.of(stale)] == [live.TooOld]

    def test_a_deadline_counts_from_when_the_frame_was_taken(self):
        clock = Clock()
        with asking("red", "blue", deadline_ms=2000, clock=clock) as (asker, _):
            clock.now = 3.0
            late = asker.submit(frame(1.0), "?")
            with pytest.raises(DeadlineExceeded, match="before the question's turn"):
                late.result()
            assert late.status == "too old"
            assert asker.submit(frame(2.0), "?").result().text == "red"

    def test_a_deadline_that_passes_in_between_stops_the_answer(self):
        # The step that computes sees the real clock: a microsecond is over by then.
        with asking("red", "blue", deadline_ms=1e-3) as (asker, _):
            late = asker.submit(frame(), "?")
            with pytest.raises(DeadlineExceeded):
                late.result()
            assert late.status == "too old"

    def test_an_answer_after_the_deadline_is_not_given(self):
        clock = Clock()
        with asking("red", deadline_ms=60_000, clock=clock) as (asker, _):
            ticket = asker.submit(_late_source(clock), "?")
            with pytest.raises(DeadlineExceeded) as caught:
                ticket.result()
        assert caught.value.partial == "red"

    def test_a_picture_whose_age_does_not_matter_has_neither_limit(self):
        clock = Clock()
        with asking("red", max_age_ms=1, deadline_ms=1, clock=clock) as (asker, _):
            clock.now = 1e9
            assert asker.submit(frame(math.inf), "?").result().text == "red"

    def test_a_questions_own_timeout_holds_too(self):
        with asking("red", "blue", deadline_ms=60_000) as (asker, _):
            ticket = asker.submit(frame(), "?", AskOptions(timeout=1e-9))
            assert isinstance(ticket.wait(), live.TooOld)

    def test_waiting_for_a_result_has_a_limit_of_its_own(self):
        with asking("red", "blue") as (asker, _):
            with worker_held(asker) as held:
                with pytest.raises(TimeoutError, match="no answer within 0 seconds"):
                    held.result(timeout=0)
                with pytest.raises(TimeoutError):
                    list(held.events(timeout=0))
                assert not held.done()
            assert held.result().text == "red"


def _late_source(clock):
    """A frame whose picture takes the clock past every deadline when it is read."""

    class Slow(Frame):
        @property
        def image(self):
            clock.now = 1e6
            return PIXELS

    slow = object.__new__(Slow)
    object.__setattr__(slow, "taken", 0.0)
    object.__setattr__(slow, "stamp", None)
    return lambda: slow


class TestCancelling:
    def test_a_waiting_question_ends_at_once(self):
        with asking("held") as (asker, _), worker_held(asker):
            ticket = asker.submit(frame(), "?")
            ticket.cancel()
            with pytest.raises(Cancelled, match="while it waited"):
                ticket.result(timeout=0)
            assert asker.waiting == 0

    def test_a_running_question_ends_at_its_next_step(self):
        with asking("held", "red") as (asker, _):
            with worker_held(asker) as held:
                held.cancel()
                assert held.status == "waiting"  # its source is being asked for the frame
            assert isinstance(held.wait(), live.Cancelled)
            assert asker.submit(held.frame, "?").result().text == "held"

    def test_an_ended_question_stays_as_it_ended(self):
        with asking("red") as (asker, _):
            ticket = asker.submit(frame(), "?")
            ticket.result()
            ticket.cancel()
            assert ticket.result().text == "red"

    def test_a_cancel_in_the_options_is_refused(self):
        with asking() as (asker, _), pytest.raises(InputError, match="by its ticket"):
            asker.submit(frame(), "?", AskOptions(cancel=threading.Event()))


class TestClosing:
    def test_what_runs_and_what_waits_is_cancelled(self):
        with asking("held") as (asker, events):
            with worker_held(asker) as held:
                waiting = asker.submit(frame(), "?")
                closer = threading.Thread(target=asker.close)
                closer.start()
                assert isinstance(waiting.wait(30), live.Cancelled)
            closer.join(30)
            assert isinstance(held.wait(0), live.Cancelled)
            with pytest.raises(SessionError, match="make a new one"):
                asker.submit(frame(), "?")
        assert {type(events.of(ticket)[-1]) for ticket in (held, waiting)} == {live.Cancelled}

    def test_it_leaves_no_thread_and_no_session_and_the_model_open(self):
        before = set(threading.enumerate())
        model = awares_edge.scripted(["red", "blue"])
        with LiveAsker(model) as asker:
            asker.submit(frame(1e12), "?").result()
            opened = [session for session in model._sessions if not session._closed]
            assert opened
        asker.close()
        assert set(threading.enumerate()) == before
        assert [session for session in opened if not session._closed] == []
        assert model.ask(PIXELS, "?").text == "blue"

    def test_a_subscriber_may_close_it(self):
        closed = threading.Event()
        asker = LiveAsker(awares_edge.scripted(["red"]))
        asker.subscribe(lambda _: (asker.close(), closed.set()))
        asker.submit(frame(1e12), "?")
        assert closed.wait(30)
        asker.close()

    def test_a_source_may_close_it(self):
        with asking("red") as (asker, _):
            ticket = asker.submit(lambda: asker.close() or frame(), "?")
            assert isinstance(ticket.wait(30), live.Cancelled)


class TestFaults:
    @pytest.mark.parametrize("error", [RuntimeError("lens cap"), SystemExit(3)])
    def test_a_source_that_raises_fails_its_question_alone(self, error):
        def source():
            raise error

        with asking("red") as (asker, _):
            broken = asker.submit(source, "?")
            assert broken.wait().error is error
            with pytest.raises(type(error)):
                broken.result()
            assert broken.status == "failed"
            assert asker.submit(frame(), "?").result().text == "red"

    def test_a_model_that_raises_fails_its_question_and_the_picture_is_opened_again(self):
        model, one = awares_edge.scripted(["red", "blue", "green"]), frame()
        with asking(model=model) as (asker, _):
            first = asker.submit(one, "?").result()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("awares_edge.runtimes.null.NullSession.prefill", _out_of_memory)
                failed = asker.submit(one, "?").wait()
            again = asker.submit(one, "?").result()
        assert isinstance(failed.error, MemoryError)
        assert again.turns[0].prefill_tokens == first.turns[0].prefill_tokens

    @pytest.mark.parametrize(
        ("image", "question", "error"),
        [(b"no picture", "?", ImageError), (PIXELS, "", QuestionError)],
    )
    def test_bad_input_fails_its_question_alone(self, image, question, error):
        with asking("red") as (asker, _):
            with pytest.raises(error):
                asker.submit(Frame(image, 0.0), question).result()
            assert asker.submit(frame(), "?").result().text == "red"

    def test_a_model_that_is_closed_fails_what_comes(self):
        model = awares_edge.scripted(["red"])
        with asking(model=model) as (asker, _):
            asker.submit(frame(), "?").result()
            model.close()
            with pytest.raises(SessionError, match="load it again"):
                asker.submit(frame(), "?").result()

    def test_a_subscriber_that_raises_is_logged_and_called_again(self, caplog):
        calls = []

        def broken(event):
            calls.append(event)
            raise RuntimeError("no network")

        with asking("red") as (asker, events):
            asker.subscribe(broken)
            asker.submit(frame(), "?").result()
        assert calls == list(events)
        assert "no network" in caplog.text

    def test_a_subscriber_that_blocks_holds_up_no_answer_and_loses_text_first(self):
        go = threading.Event()
        texts = ["held", *["a long answer"] * 5]
        with asking(*texts, backlog=10) as (asker, events):
            asker.subscribe(lambda _: go.wait(30))
            tickets = []
            for _ in range(5):
                tickets.append(asker.submit(frame(), "?"))
                tickets[-1].result()
            assert asker.dropped_events > 0
            go.set()
        endings = [event.ticket for event in events if isinstance(event, live.Answered)]
        assert endings == tickets

    def test_a_subscriber_that_never_returns_is_left_behind(self, monkeypatch, caplog):
        monkeypatch.setattr("awares_edge.live.asker._PATIENCE", 0.01)
        go = threading.Event()
        with asking("red") as (asker, _):
            asker.subscribe(lambda _: go.wait(30))
            asker.submit(frame(), "?").result()
        assert "has not returned" in caplog.text
        go.set()

    def test_a_subscription_ends(self):
        with asking("red", "blue") as (asker, events):
            first = []
            end = asker.subscribe(first.append)
            asker.submit(frame(), "?").result()
            end()
            asker.submit(frame(), "?").result()
        assert len({event.ticket for event in events}) == 2
        assert len({event.ticket for event in first}) <= 1


def _out_of_memory(*_, **__):
    raise MemoryError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_age_ms": 0}, "max_age_ms must be above 0 and finite"),
        ({"deadline_ms": float("nan")}, "deadline_ms must be above 0 and finite"),
        ({"policy": "oldest"}, "policy must be newest or queue, not 'oldest'"),
        ({"most_waiting": 0}, "most_waiting must be a whole number of at least 1"),
        ({"backlog": 0}, "backlog must be a whole number of at least 1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        LiveAsker(awares_edge.scripted(), **options)
