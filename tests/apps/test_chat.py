"""`awares-edge chat`: questions and commands, line by line, through a pipe."""

import io

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge.apps import chat, options
from awares_edge.apps.cli import main


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (224, 280, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def talk(monkeypatch, capsys, picture):
    """Type lines to a scripted model; what is printed, as (stdout, stderr)."""

    def talk(*lines, replies, arguments=(), code=0, context=32_768):
        def load(*_, protocol=None, **__):
            return awares_edge.scripted(replies, protocol=protocol or "paper", context=context)

        monkeypatch.setattr(options, "load", load)
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        assert main(["chat", str(picture), *arguments]) == code
        printed = capsys.readouterr()
        return printed.out, printed.err

    return talk


def test_answers_come_on_stdout_and_crops_are_named(talk):
    out, err = talk("What?", "", "And?", replies=["GET_CROPS: ['3']", "42", "blue"])
    assert out == "42\nblue\n"
    assert "looking closer: bottom-right" in err
    assert "zoomed: bottom-right" in err
    assert "> " not in out


def test_a_question_sees_those_before_it(talk):
    call = "GET_CROPS: ['3']"
    out, err = talk("What?", "And?", replies=[call, "42", [call, "blue"]])
    assert out == "42\nblue\n"
    assert "policy already-shown:answer" in err


def test_unsure_answers_are_withheld_and_the_decision_can_be_moved(talk):
    replies = [["42", "GET_CROPS: ['3']"], "blue"]
    out, err = talk("What?", replies=replies, arguments=["--abstain-below", "1"])
    assert out == "unsure\n"
    assert "policy abstain:" in err
    out, _ = talk("What?", replies=replies, arguments=["--decision-bias", "1.5"])
    assert out == "blue\n"


def test_until_they_are_forgotten(talk):
    call = "GET_CROPS: ['3']"
    out, err = talk("What?", "/forget", "And?", replies=[call, "42", call, "blue"])
    assert out == "42\nblue\n"
    assert "the conversation is forgotten" in err
    assert "already-shown" not in err


def test_quitting_ends_it(talk):
    out, _ = talk("What?", "/quit", "And?", replies=["red"])
    assert out == "red\n"


def test_a_view_of_the_last_answer_is_saved(talk, tmp_path):
    view = tmp_path / "the view.png"
    _, err = talk(f"/save-view {view}", replies=[])
    assert "there is no answer yet" in err
    _, err = talk("What?", f"/save-view {view}", replies=["GET_CROPS: ['3']", "42"])
    assert f"view written to {view}" in err
    with Image.open(view) as image:
        assert image.width > 3 * 300


def test_a_mistake_is_told_and_the_conversation_goes_on(talk, tmp_path):
    lines = ["/what", "/save-view", "One?", "x" * 40_000, f"/save-view {tmp_path}", "Two?"]
    out, err = talk(*lines, replies=["red", "blue"])
    assert out == "red\nblue\n"
    assert err.count("there are /save-view FILE, /forget, /quit") == 2
    assert "over 32,768: shorten it" in err
    assert str(tmp_path) in err


def test_a_question_that_does_not_fit_is_told(talk):
    out, err = talk("One?", "x" * 5000, "Two?", replies=["red", "blue"], context=2000)
    assert out == "red\nblue\n"
    assert "exceed the context of 2000" in err


def test_an_error_that_ends_the_model_ends_the_conversation(talk):
    _, err = talk("One?", replies=[], code=2)
    assert "the scripted replies are used up" in err


def test_an_interrupted_answer_leaves_the_conversation_as_it_was(talk, monkeypatch):
    follow, calls = chat.follow, []

    def interrupted(events):
        calls.append(1)
        if len(calls) == 2:
            next(events)
            raise KeyboardInterrupt
        return follow(events)

    monkeypatch.setattr(chat, "follow", interrupted)
    out, err = talk("One?", "Two?", "Three?", replies=["red", "long answer", "blue"])
    assert out == "red\n\nblue\n"
    assert "interrupted: the conversation is as it was" in err


def test_reasoning_is_printed_apart(talk):
    said = "<think>I \x1b[2J see.</think><answer>42</answer>"
    out, err = talk("What?", replies=[said], arguments=["--protocol", "deepeyes"])
    assert out == "42\n"
    assert "<think>I \\x1b[2J see.</think>" in err.replace("\n", "")


def test_bytes_that_are_no_text_are_a_mistake_like_any_other(picture, monkeypatch, capsys):
    monkeypatch.setattr(options, "load", lambda *_, **__: awares_edge.scripted("red"))
    typed = io.TextIOWrapper(io.BytesIO(b"\xff\xfe?\nOne?\n"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", typed)
    assert main(["chat", str(picture)]) == 0
    printed = capsys.readouterr()
    assert printed.out == "red\n"
    assert "the question is not valid Unicode" in printed.err


def test_without_an_input_it_ends(talk, monkeypatch):
    monkeypatch.setattr(chat.sys, "stdin", None)
    assert list(chat._lines()) == []
