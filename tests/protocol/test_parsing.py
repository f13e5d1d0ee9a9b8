"""Tool calls in every published form, and in none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.protocol import CROP_NAMES, CropCall, parse_call, render_call

ids = st.lists(st.sampled_from([i for i in CROP_NAMES if i != "all"]), min_size=1, unique=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET_CROPS: ['3']", ("3",)),
        ("GET_CROPS: ['0', '5']", ("0", "5")),
        ('GET_CROPS: ["0", "5"]', ("0", "5")),
        ("GET_CROPS: [0, 5]", ("0", "5")),
        ("GET_CROPS:['3']", ("3",)),
        ("GET_CROPS ['3']", ("3",)),
        ("GET_CROPS[3]", ("3",)),
        ("GET_CROPS: ['all']", ("all",)),
        ("GET_CROPS:[all]", ("all",)),
        ("GET_CROPS: ['top-left', 'right']", ("0", "8")),
        ("GET_CROPS: [bottom-right]", ("3",)),
        ("GET_CROPS: ['5','0']", ("5", "0")),
        ("  GET_CROPS: ['3']\n", ("3",)),
    ],
)
def test_published_forms_are_ok_and_keep_their_order(text, expected):
    assert parse_call(text) == CropCall("ok", expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET_CROPS: ['3', '3']", ("3",)),
        ("GET_CROPS: ['3', '9']", ("3",)),
        ("GET_CROPS: ['all', '0']", ("all",)),
        ("GET_CROPS: ['3'] because it is small", ("3",)),
        ("Let me look. GET_CROPS: ['3']", ("3",)),
        ("GET_CROPS: ['3'", ("3",)),
        ("GET_CROPS:[05]", ("0", "5")),
        ("GET_CROPS: ['3, '4']", ("4",)),
        ("GET_CROPS: [ '3' ,, ' 5 ']", ("3", "5")),
    ],
)
def test_what_had_to_be_dropped_or_put_right_is_repaired(text, expected):
    assert parse_call(text) == CropCall("repaired", expected)


@pytest.mark.parametrize(
    "text",
    [
        "GET_CROPS",
        "GET_CROPS: []",
        "GET_CROPS: ['9']",
        "GET_CROPS: ['10']",
        "GET_CROPS: 3",
        "GET_CROPS: [",
    ],
)
def test_a_call_that_names_no_crop_is_invalid_and_never_silent(text):
    assert parse_call(text) == CropCall("invalid")


@pytest.mark.parametrize("text", ["", "42", "The crops are corn.", "get_crops: ['3']"])
def test_an_answer_is_no_call(text):
    assert parse_call(text) == CropCall("none")


def test_a_crop_that_the_prompt_did_not_offer_is_not_accepted():
    offered = ("0", "1")
    assert parse_call("GET_CROPS: ['0', 'all']", offered) == CropCall("repaired", ("0",))
    assert parse_call("GET_CROPS: ['all']", offered) == CropCall("invalid")


@given(ids)
def test_what_is_rendered_is_read_back(crops):
    assert parse_call(render_call(crops)) == CropCall("ok", tuple(crops))


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_breaks_the_parser(before, after):
    call = parse_call(f"{before}GET_CROPS{after}")
    assert call.status in ("ok", "repaired", "invalid")
    assert bool(call.ids) == (call.status != "invalid")
    assert len(set(call.ids)) == len(call.ids)


@pytest.mark.parametrize("crops", [[], ["3", "3"], ["9"], ["top-left"]])
def test_only_a_set_of_known_ids_is_rendered(crops):
    with pytest.raises(ValueError, match="not a set of crop ids"):
        render_call(crops)
