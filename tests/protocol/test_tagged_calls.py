"""Calls between tags: the grammar agrees with the parser, and hostile text is read in no time."""

import json
import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.protocol import PROFILES, CallTokens
from awares_edge.protocol.answers import extract_answer
from awares_edge.protocol.call.json_object import MAX_BODY
from awares_edge.protocol.call.json_prefix import MAX_DEPTH
from awares_edge.protocol.profile import AnswerRule
from awares_edge.runtimes.null import byte_tokenizer

TAGGED = {n: p.call for n, p in PROFILES.items() if p.tool.syntax != "crops"}
JSON = {n: call for n, call in TAGGED.items() if call.tool.syntax == "json"}
VALID = ("ok", "repaired")

numbers = st.integers(-(10**9) + 1, 10**9 - 1) | st.floats(-1e8, 1e8, allow_nan=False)
boxes = st.lists(numbers, min_size=4, max_size=4)
extra = st.recursive(
    st.none() | st.booleans() | st.integers(0, 10**18) | st.floats(-1e9, 1e9) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=2)
    ),
    max_leaves=6,
)


@st.composite
def json_calls(draw, call):
    """JSON objects that are calls, with other keys, spaces and orders than in training."""
    tool = call.tool
    arguments = {}
    if tool.box:
        arguments[tool.box] = draw(boxes)
    if tool.fixed:
        arguments.update([tool.fixed.split("=")])
    if tool.reference:
        arguments[tool.reference] = draw(st.integers(-9, 99) | st.text(max_size=12))
    taken = {*arguments, "name", "arguments"}
    more = st.dictionaries(st.text(max_size=6).filter(lambda k: k not in taken), extra, max_size=2)
    if not tool.spelled:
        arguments = {**arguments, **draw(more)}
    if tool.name:
        body = {"name": tool.name, "arguments": arguments}
        body = dict(draw(st.permutations(list({**body, **draw(more)}.items()))))
    else:
        body = arguments
    separators = draw(st.sampled_from([(", ", ": "), (",", ":"), (" , ", " : ")]))
    indent = draw(st.sampled_from([None, None, 1]))
    text = json.dumps(body, ensure_ascii=draw(st.booleans()), separators=separators, indent=indent)
    blank = st.sampled_from(["", " ", "\n", "\r\n "])
    return f"{tool.opening}{draw(blank)}{text}{draw(blank)}{tool.closing}"


@pytest.mark.parametrize("name", JSON)
@given(data=st.data())
def test_every_valid_call_is_viable_at_every_character(name, data):
    """So constrained greedy decoding chooses as unconstrained, wherever that makes a call."""
    call = JSON[name]
    text = data.draw(json_calls(call))
    valid = call.parse(text).status in VALID
    assert call.grammar.complete(text) == call.grammar.viable(text) == valid
    if valid:
        assert all(call.grammar.viable(text[:end]) for end in range(len(text)))


@pytest.mark.parametrize("name", JSON)
@given(box=boxes)
def test_every_box_of_four_numbers_in_the_trained_form_is_a_call(name, box):
    call = JSON[name]
    assert call.parse(call.render(json.dumps(box)[1:-1])).status == "ok"


ALPHABET = ' \n{}[]",:.-+0123456789eE\\/abcdefghijklmnopqrstuvwxyz_<>'


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", TAGGED)
def test_text_made_by_the_grammar_alone_never_ends_in_a_corner(name, seed):
    call, random = TAGGED[name], Random(seed)
    prefix = call.examples()[0]
    text = prefix[: random.randrange(len(call.marker), len(prefix))]
    for _ in range(40):
        some = [c for c in random.sample(ALPHABET, len(ALPHABET)) if call.grammar.viable(text + c)]
        assert some, text
        text += some[0]
        if call.grammar.complete(text):
            assert call.parse(text).status in VALID
            return


@pytest.mark.parametrize("name", TAGGED)
def test_nothing_but_blanks_follows_a_complete_call(name):
    call = TAGGED[name]
    text = call.examples()[0]
    assert call.grammar.complete(text)
    assert call.grammar.viable(f"{text}\n")
    assert not call.grammar.viable(f"{text}x")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deepeyes", '<tool_call>{"name": "zoom'),
        ("deepeyes", '<tool_call>{"name": "image_zoom_in_tool", "name":'),
        ("deepeyes", '<tool_call>{"arguments": {}'),
        ("deepeyes", '<tool_call>{"arguments": ['),
        ("deepeyes", '<tool_call>{"arguments": {"bbox_2d": "'),
        ("deepeyes", '<tool_call>{"arguments": {"bbox_2d": [1, 2, 3]'),
        ("deepeyes", '<tool_call>{"arguments": {"bbox_2d": [1e9,'),
        ("deepeyes", '<tool_call>{"arguments": {"bbox_2d": [1, 2, 3, 4], "bbox_2d":'),
        ("deepeyes", '<tool_call>{"arguments": {"bbox_2d": [1, 2, 3, N'),
        ("deepeyes", "<tool_call>x"),
        ("deepeyes", '<tool_call>{"x": ' + "[" * (MAX_DEPTH + 1)),
        ("deepeyes", '<tool_call>{"x": ' + "1" * 21),
        ("deepeyes", '<tool_call>{"x": "' + "a" * MAX_BODY),
        ("visionthink", '<tool_call>{"arguments": {"action": "g'),
        ("visionthink", '<tool_call>{"name":\n'),
        ("pixelreasoner", '<tool_call>{"arguments": {"target_image": 1.'),
        ("mini-o3", "<grounding> "),
        ("mini-o3", '<grounding>{"bbox_2d":['),
        ("mini-o3", '<grounding>{"bbox_2d": [0, 0, 1, 1], "source":"'),
        ("ergo", "<zoom>[1, 2, 3, 4][5, 6, 7, 8]"),
        ("ergo", "<zoom>" + "1" * 21),
    ],
)
def test_dead_ends_are_seen_at_once(name, text):
    grammar = TAGGED[name].grammar
    assert not grammar.viable(text)


HOSTILE = {
    "digits": "9" * 10**6,
    "digits of another script": "٣" * 400,
    "a fraction": "0." + "9" * 10**6,
    "an exponent": "1e" + "9" * 10**6,
    "NaN": "NaN",
    "infinity": "-Infinity",
    "overflow": "1e400",
    "depth": "[" * 10**5,
    "deep objects": '{"a":' * 10**5,
    "closed depth": "[" * 900 + "]" * 900,
    "a string": '"' + "a" * 10**6 + '"',
    "escapes": '"' + "\\u0041" * 10**5 + '"',
    "braces": "{" * 10**5 + "}" * 10**5,
    "tags": "<tool_call><grounding><zoom>" * 10**4,
    "answers": "<answer>" * 10**5,
    "lone surrogates": '"\ud800"',
}


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_number_or_object_is_no_call(name, what):
    call, value = TAGGED[name], HOSTILE[what]
    for text in (
        f"{call.tool.opening}{value}{call.tool.closing}",
        call.render(f"{value}, 0, 100, 100") if call.tool.box else value,
        f"{call.tool.opening}[{value}, 0, 100, 100]{call.tool.closing}",
        value,
    ):
        begun = time.process_time()
        read = call.parse(text)
        call.call_start(text)
        for rule in ("tag", "innermost", "boxed"):
            extract_answer(AnswerRule(rule), [text])
        assert read.status in ("invalid", "none") or what in ("tags", "answers")
        assert read.requests == () or call.tool.syntax != "json"
        assert time.process_time() - begun < 2


@pytest.mark.parametrize("name", TAGGED)
class TestWhereACallBegins:
    def test_at_the_opening_tag(self, name):
        call = TAGGED[name]
        assert call.find(f"a {call.marker}") == 2
        assert call.find(f"a {call.marker[:-1]}") is None

    def test_text_that_may_become_a_tag_is_held_back(self, name):
        call = TAGGED[name]
        assert call.certain("a < b") == 5
        assert call.certain(f"so {call.marker[:4]}") == 3
        assert call.certain(f"so {call.marker} and") == 3

    def test_a_call_that_is_cut_off_is_no_answer(self, name):
        call = TAGGED[name]
        text = f"so {call.examples()[0]}"
        assert call.call_start(text) == 3
        assert call.call_start(text[:-1]) == 3
        assert call.parse(text[:-1]).status == "none"

    def test_the_text_behind_a_box_is_drafted(self, name):
        call, tokenizer = TAGGED[name], byte_tokenizer()
        tokens = CallTokens.build(tokenizer, tokenizer.special_tokens(), call)
        assert tokenizer.decode(tokens.opening).startswith(call.marker)
        for text in call.examples():
            for end in range(len(text)):
                rest = call.fixed_rest(text[:end])
                assert rest == "" or call.grammar.complete(text[:end] + rest)
