"""The grammar of texts without a call admits every other text, and none with one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge import PROFILES
from awares_edge.remote.barring import without

MARKERS = sorted({profile.call.marker for profile in PROFILES.values()})


def admits(grammar, text):
    """Whether a right-linear grammar in GBNF derives a text; read anew, as a server would."""
    rules = dict(line.split(" ::= ") for line in grammar.splitlines())
    state = rules["root"]
    for character in text:
        options = [o for o in rules[state].split(" | ") if o != '""']
        found = []
        for option in options:
            inside, _, target = option.partition("] ")
            escaped = set(re.findall(r"\\x(..)", inside))
            listed = f"{ord(character):02X}" in escaped if ord(character) < 256 else False
            if listed != inside.startswith("[^"):
                found.append(target)
        assert len(found) < 2
        if not found:
            return False
        [state] = found
    return '""' in rules[state]


@pytest.mark.parametrize("marker", MARKERS)
class TestEveryMarker:
    def test_the_marker_is_refused_in_any_case_and_place(self, marker):
        grammar = without(marker)
        for text in (marker, marker.lower(), marker.upper(), f"It is {marker}", marker * 2):
            assert not admits(grammar, text)

    def test_what_only_begins_like_it_is_admitted(self, marker):
        grammar = without(marker)
        for text in ("", "red", marker[:-1], marker[1:], marker[:3] + marker[:-1], "Größe 日本"):
            assert admits(grammar, text)

    @given(data=st.data())
    def test_it_admits_what_does_not_hold_the_marker(self, marker, data):
        letters = marker + marker.lower() + marker.upper() + "x "
        text = data.draw(st.text(st.sampled_from(letters), max_size=40))
        assert admits(without(marker), text) == (marker.lower() not in text.lower())
