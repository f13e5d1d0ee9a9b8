"""The grammar of texts without a call admits every other text, and none with one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.remote.barring import without_call

SIGNS = ["GET", "<to", "<gr", "<zo", "aab", "abab", "x"]


def admits(grammar, text):
    """Whether such a grammar derives a text; read anew, as a server would."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
    before, _, options = rules["root"].partition("( ")
    literal = re.fullmatch(r'(?:"(.*)" )?', before) if options else None
    start = decoded(literal[1] or "") if literal else ""
    if not text.startswith(start):
        return False
    options = (options.removesuffix(" )") or rules[rules["root"]]).split(" | ")
    for character in text[len(start) :]:
        found = []
        for option in options:
            inside, _, target = option.partition("] ")
            if target and (character in decoded(inside)) != inside.startswith("[^"):
                found.append(target)
        assert len(found) < 2
        if not found:
            return False
        options = rules[found[0]].split(" | ")
    return '""' in options


def decoded(escaped):
    return "".join(chr(int(a or b, 16)) for a, b in re.findall(r"\\x(..)|\\U(.{8})", escaped))


@pytest.mark.parametrize("sign", SIGNS)
class TestEverySign:
    def test_it_does_not_come_again(self, sign):
        grammar = without_call(sign, "", sign[0])
        for text in (sign, f"It is {sign}", f"{sign[1:]}{sign} y", sign[0]):
            assert not admits(grammar, text)

    def test_other_texts_may(self, sign):
        grammar = without_call(sign, "", sign[0])
        for text in ("", "red", "größe 日本", f"-{sign[:-1]}", f"-{sign[:-1]}-{sign[1:]}"):
            assert admits(grammar, text) == (sign not in text)

    def test_what_was_said_before_the_call_stays(self, sign):
        before = 'It is "so"\n(a) \\ é 日: '
        grammar = without_call(sign, before, sign[0], "[]")
        assert admits(grammar, before)
        assert admits(grammar, f"{before}red")
        assert not admits(grammar, before[:-1])
        assert not admits(grammar, before + sign)
        assert not admits(grammar, f"{before}red [")
        assert not admits(grammar, f"{before}]")

    def test_a_long_text_is_left_free(self, sign):
        grammar = without_call(sign, "so " * 1000, sign[0])
        assert len(grammar) < 1000
        assert admits(grammar, "so it is red")
        assert not admits(grammar, f"so {sign}")

    @given(data=st.data())
    def test_it_admits_what_does_not_hold_the_sign(self, sign, data):
        text = data.draw(st.text(st.sampled_from(sign + "Q "), max_size=40))
        expected = sign not in text and not text.startswith(sign[0])
        assert admits(without_call(sign, "", sign[0]), text) == expected
