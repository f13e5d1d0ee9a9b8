"""What a model says, sorted into answer and reasoning while it comes."""

from dataclasses import replace

import pytest

from awares_edge import PROFILES, ReasoningDelta, TextDelta
from awares_edge.controller.speech import Speech
from awares_edge.protocol.profile import AnswerRule

TAGGED = PROFILES["deepeyes"]
BOXED = PROFILES["pixelreasoner"]
PLAIN = PROFILES["paper"]
THINKING = replace(PLAIN, reasoning=True, answer=AnswerRule("text"))


def said(profile, *turns, size=1, answer=""):
    """(answer, reasoning) of turns whose text comes in pieces of `size` characters."""
    speech, events = Speech(profile), []
    for number, text in enumerate(turns):
        for at in range(0, len(text), size):
            events += speech.feed(text[at : at + size])
        events += speech.end_turn(answer if number == len(turns) - 1 else "")
    thoughts = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
    assert thoughts == speech.reasoning
    return "".join(e.text for e in events if isinstance(e, TextDelta)), thoughts


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("profile", "text", "expected"),
    [
        (PLAIN, "a <think>b</think> c", ("a <think>b</think> c", "")),
        (THINKING, "<think>b</think>c", ("c", "b")),
        (TAGGED, "<think>b</think><answer>c</answer>", ("c", "<think>b</think>")),
        (TAGGED, "b <answer>c</answer> d", ("c", "b  d")),
        (TAGGED, "b <answer>c < d </ans", ("c < d </ans", "b ")),
        (TAGGED, "1 < 2 <ans", ("", "1 < 2 <ans")),
        (BOXED, r"so \boxed{42}", ("", r"so \boxed{42}")),
    ],
)
def test_tags_are_found_however_the_text_is_cut(profile, text, expected, size):
    assert said(profile, text, size=size) == expected


def test_what_may_become_a_tag_is_held_back():
    speech = Speech(TAGGED)
    assert list(speech.feed("1 <answ")) == [ReasoningDelta("1 ")]
    assert list(speech.feed("er>4")) == [TextDelta("4")]
    assert list(speech.feed("2</answer")) == [TextDelta("2")]
    assert list(speech.feed("s")) == [TextDelta("</answers")]
    assert list(speech.feed("2</answers")) == [TextDelta("2</answers")]


def test_an_answer_that_is_not_marked_comes_at_the_end():
    assert said(BOXED, r"so \boxed{42}", answer="42") == ("42", r"so \boxed{42}")
    assert said(TAGGED, "<answer>42</answer>", answer="42") == ("42", "")


def test_each_turn_begins_anew():
    assert said(TAGGED, "<answer>let me look", "I see <answer>42") == ("let me look42", "I see ")
