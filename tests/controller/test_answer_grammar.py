"""Answers that are held to a form, as docs/api.md shows it."""

import re
from pathlib import Path

import numpy
import pytest

import awares_edge
from awares_edge import AskOptions, CropsRequested, InputError, TextDelta
from tests.controller.scripted import CALL, IMAGE

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def yes_or_no(model):
    """The example of the page."""
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
        if "YesOrNo" in block
    )
    names = {"numpy": numpy}
    exec(code, names)
    return names["YesOrNo"](model)


def ask(*replies, **options):
    model = awares_edge.scripted(replies)
    return model.ask(IMAGE, "Is it red?", AskOptions(grammar=yes_or_no(model), **options))


@pytest.mark.parametrize("said", ["yes", "no"])
def test_an_answer_of_the_form_stays(said):
    answer = ask(said)
    assert (answer.text, answer.finish) == (said, "stop")


@pytest.mark.parametrize("said", ["I think so", "", "yes, it is", "no\n", "nope"])
def test_any_other_becomes_one(said):
    assert ask(said).text in ("yes", "no")


def test_the_models_own_choice_among_the_allowed_counts():
    assert ask(["It is not.", "no"]).text == "no"


def test_a_call_is_still_possible():
    answer = ask(CALL, "yes")
    assert (answer.text, [crop.id for crop in answer.crops]) == ("yes", ["3"])


def test_a_second_call_is_not():
    answer = ask(CALL, [CALL, "no"])
    assert (answer.text, len(answer.crops)) == ("no", 1)


def test_white_space_is_no_beginning_of_a_call():
    assert ask([" " * 600, "yes"]).text == "yes"


def test_what_begins_as_a_call_and_goes_astray_stays_a_call():
    answer = ask("GETTING THERE", "yes")
    assert answer.crops
    assert answer.text == "yes"


def test_baselines_are_held_to_it_too():
    assert ask([CALL, "no"], mode="full").text == "no"


def test_it_streams():
    model = awares_edge.scripted([CALL, "yes"])
    with model.open(IMAGE) as picture:
        *events, answer = picture.stream("?", AskOptions(grammar=yes_or_no(model)))
    assert isinstance(events[0], CropsRequested)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == answer.text == "yes"


def test_the_same_grammar_serves_one_question_after_another():
    model = awares_edge.scripted(["yes", CALL, "no", ["maybe", "yes"]])
    options = AskOptions(grammar=yes_or_no(model))
    assert [model.ask(IMAGE, "?", options).text for _ in range(3)] == ["yes", "no", "yes"]


def test_it_needs_constrained_decoding():
    with pytest.raises(InputError, match="constrain=True"):
        ask("yes", constrain=False)
