"""Deadlines, cancelling, closing, and several threads."""

import threading
import time

import pytest

import awares_edge
from awares_edge import AskOptions
from awares_edge.errors import (
    Cancelled,
    DeadlineExceeded,
    SessionError,
)
from tests.controller.scripted import IMAGE, ask


class TestInterruption:
    def test_a_deadline_stops_and_leaves_the_picture_usable(self):
        model = awares_edge.scripted(["red", "blue"])
        with model.open(IMAGE) as picture:
            with pytest.raises(DeadlineExceeded, match="allow more time"):
                picture.ask("?", AskOptions(timeout=1e-9))
            assert picture.ask("?").text == "red"

    def test_a_cancel_stops_and_hands_over_what_there_is(self):
        model = awares_edge.scripted(["a long answer", "blue"])
        cancel = threading.Event()
        with model.open(IMAGE) as picture:
            stream = picture.stream("?", AskOptions(cancel=cancel))
            first = next(stream)
            cancel.set()
            with pytest.raises(Cancelled) as caught:
                list(stream)
            assert caught.value.partial.startswith(first.text)
            assert picture.ask("?").text == "blue"

    def test_a_token_limit_ends_an_answer(self):
        answer = ask("a long answer", max_new_tokens=3)
        assert (answer.text, answer.finish) == ("a l", "length")

    def test_a_full_context_ends_an_answer(self):
        model = awares_edge.scripted(["x" * 2000], context=1000)
        answer = model.ask(IMAGE, "?")
        assert answer.finish == "length"
        assert 100 < len(answer.text) < 1000


def test_several_threads_ask_at_once():
    model = awares_edge.scripted(["red"] * 16)
    answers, threads = [], []
    for _ in range(16):
        threads.append(threading.Thread(target=lambda: answers.append(model.ask(IMAGE, "?").text)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert answers == ["red"] * 16


class TestClosing:
    def test_a_closed_picture_says_so(self):
        model = awares_edge.scripted(["red"])
        picture = model.open(IMAGE)
        picture.ask("?")
        picture.close()
        picture.close()
        with pytest.raises(SessionError, match="open it again"):
            picture.ask("?")

    def test_a_closed_model_says_so_and_so_do_its_pictures_and_sessions(self):
        model = awares_edge.scripted(["red"])
        picture, session = model.open(IMAGE), model.open_session()
        picture.ask("?")
        model.close()
        model.close()
        for use in (
            lambda: model.ask(IMAGE, "?"),
            lambda: model.open(IMAGE),
            model.open_session,
            lambda: picture.ask("?"),
        ):
            with pytest.raises(SessionError, match="this model is closed: load it again"):
                use()
        with pytest.raises(SessionError, match="session is closed"):
            session.decode(0)
        picture.close()
        session.close()

    @pytest.mark.parametrize("close", ["picture", "model"])
    def test_a_question_that_is_being_answered_ends_with_an_error(self, close):
        model = awares_edge.scripted(["a long answer"])
        picture = model.open(IMAGE)
        stream = picture.stream("?")
        next(stream)
        {"picture": picture, "model": model}[close].close()
        with pytest.raises(SessionError, match=f"this {close} is closed"):
            next(stream)
        picture.close()

    @pytest.mark.parametrize("close", ["picture", "model"])
    def test_a_stream_may_be_left_after_closing(self, close):
        model = awares_edge.scripted(["a long answer"])
        picture = model.open(IMAGE)
        stream = picture.stream("?")
        next(stream)
        {"picture": picture, "model": model}[close].close()
        stream.close()

    @pytest.mark.parametrize("close", ["picture", "model"])
    def test_closing_waits_for_the_step_that_another_thread_computes(self, close, monkeypatch):
        model = awares_edge.scripted(["a long answer"])
        picture, order = model.open(IMAGE), []
        computing, closing = threading.Event(), threading.Event()
        encode = model.runtime.encode_image

        def slow(patches):
            computing.set()
            closing.wait(10)
            # The other thread is about to close: it must not get there before this returns.
            order.append("computed")
            return encode(patches)

        monkeypatch.setattr(model.runtime, "encode_image", slow)
        monkeypatch.setattr(picture.views, "close", lambda: order.append("closed"))
        monkeypatch.setattr(model.runtime, "close", lambda: order.append("closed"))

        def ask():
            try:
                order.append(picture.ask("?").text)
            except SessionError as error:
                order.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        assert computing.wait(10)
        gate = {"picture": picture._gate, "model": model.gate}[close]
        closer = threading.Thread(target={"picture": picture, "model": model}[close].close)
        closer.start()
        while not gate.closed and thread.is_alive():
            time.sleep(0.001)
        closing.set()
        thread.join(10)
        closer.join(10)
        assert order[0] == "computed"
        assert "closed" in order[1:]
        assert any(f"this {close} is closed" in what for what in order)
