"""The call's grammar agrees with the parser, character by character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.protocol import CROP_NAMES, PROFILES

call_format = PROFILES["paper"].call
grammar = call_format.grammar


@st.composite
def calls(draw):
    """Sentences of the grammar."""
    blank = draw(st.sampled_from(["", " ", "\n", " \t\n"]))
    colon, space = draw(st.sampled_from(["", ":"])), draw(st.sampled_from(["", " "]))
    crops = draw(st.permutations([i for i in CROP_NAMES if i != "all"]))
    crops = crops[: draw(st.integers(1, len(crops)))]
    if draw(st.booleans()):
        crops = ["all"]
    items = []
    for crop in crops:
        text = draw(st.sampled_from([crop, CROP_NAMES[crop]]))
        quote = draw(st.sampled_from(["'", '"', ""]))
        items.append(f"{quote}{text}{quote}")
    comma = draw(st.sampled_from([",", ", "]))
    return f"{blank}GET_CROPS{colon}{space}[{comma.join(items)}]"


@given(calls())
def test_every_sentence_is_viable_at_every_character_and_parses_as_ok(call):
    for end in range(len(call)):
        assert grammar.viable(call[:end])
        assert not grammar.complete(call[:end])
    assert grammar.complete(call)
    assert call_format.parse(call).status == "ok"


@given(calls())
def test_a_call_begins_where_its_sentence_does(call):
    """Decoder and grammar agree, behind an answer's beginning too."""
    assert call_format.find(call) == 0
    assert call_format.find(f"I look.{call}") == 7 + len(call) - len(call.lstrip())


@given(calls(), st.characters())
def test_nothing_follows_a_complete_call(call, character):
    assert not grammar.viable(call + character)


@given(st.text(alphabet="GET_CROPS:['\"0123456789], alopt-ef", max_size=40))
def test_what_the_grammar_calls_complete_the_parser_calls_ok(text):
    text = f"GET_CROPS{text}"
    if grammar.complete(text):
        assert call_format.parse(text).status == "ok"


@pytest.mark.parametrize(
    "text",
    [
        "GET_CROPS: ['9",
        "GET_CROPS: ['0', '0",
        "GET_CROPS: ['0', 'all",
        "GET_CROPS: []",
        "GET_CROPS: ['all',",
        "get",
        "GET_CROPS_NOW",
        "x GET_CROPS",
    ],
)
def test_dead_ends_are_seen_at_once(text):
    assert not grammar.viable(text)


@given(calls())
def test_from_every_viable_prefix_a_call_can_be_completed(call):
    """No prefix leads constrained decoding into a corner."""
    alphabet = "GET_CROPS:[]'\", 012345678" + "".join(CROP_NAMES.values())
    for end in range(len(call)):
        prefix = call[:end]
        assert any(grammar.viable(prefix + c) for c in alphabet)


def test_a_quoted_crop_awaits_its_closing_quote():
    assert grammar.at_crop_end("GET_CROPS: ['0")
    assert grammar.at_crop_end("GET_CROPS: ['0', 'top")
    assert not grammar.at_crop_end("GET_CROPS: ['")
    assert not grammar.at_crop_end("GET_CROPS: [0")
    assert not grammar.at_crop_end("GET_CROPS: ['0'")
