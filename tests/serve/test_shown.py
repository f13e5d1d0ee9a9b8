"""The text that clients get, streamed or not."""

from hypothesis import given
from hypothesis import strategies as st

from awares_edge.serve.shown import Shown

TEXT = st.text("ab \n", max_size=12)


def shown(pieces, stops=(), shorten=None):
    view = Shown(stops, shorten)
    return "".join([*(view.feed(piece) for piece in pieces), view.close()]), view


@given(st.lists(TEXT, max_size=6), st.lists(st.text("ab ", min_size=1, max_size=3), max_size=2))
def test_pieces_show_what_the_whole_text_shows(pieces, stops):
    assert shown(pieces, stops)[0] == shown(["".join(pieces)], stops)[0]


@given(TEXT, st.text("ab", min_size=1, max_size=3))
def test_nothing_behind_a_stop_text_is_shown(text, stop):
    found, view = shown([text], [stop])
    assert stop not in found
    assert view.stopped == (stop in text)


def test_outer_white_space_is_not_shown():
    assert shown([" \n", " a ", "b", "  \n"])[0] == "a b"


def test_what_may_begin_a_stop_text_is_held_back():
    view = Shown(["END"])
    assert [view.feed(piece) for piece in ("one E", "N", "X two EN", "D three")] == [
        "one ",
        "",
        "ENX two ",
        "",
    ]
    assert view.close() == ""


def test_the_first_of_several_stop_texts_counts():
    assert shown(["a b c"], ["c", "b"])[0] == "a "


def test_a_short_limit_shows_nothing_before_the_end():
    view = Shown((), lambda text: text[:3])
    assert view.feed("abcdef") == ""
    assert (view.close(), view.cut) == ("abc", True)


def test_text_before_a_call_is_forgotten():
    view = Shown(["b"])
    view.feed("a b")
    view.restart()
    assert (view.feed("c"), view.close(), view.stopped) == ("c", "", False)
