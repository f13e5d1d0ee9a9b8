"""A call as the profile writes it, and as anyone may have written it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.errors import InputError
from awares_edge.protocol import CROP_NAMES, PROFILES, Call, CallTokens, Request
from awares_edge.protocol.call import CropListCall
from awares_edge.runtimes.null import byte_tokenizer

paper = PROFILES["paper"].call


def asked(status, ids):
    return Call(status, tuple(Request(i) for i in ids))


CROPS = [name for name, profile in PROFILES.items() if profile.tool.syntax == "crops"]
profiles = pytest.mark.parametrize("profile", [PROFILES[name] for name in CROPS], ids=CROPS)
some_ids = st.lists(st.sampled_from([i for i in CROP_NAMES if i != "all"]), min_size=1, unique=True)


class TestReading:
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
    def test_published_forms_are_ok_and_keep_their_order(self, text, expected):
        assert paper.parse(text) == asked("ok", expected)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("GET_CROPS: ['3', '3']", ("3",)),
            ("GET_CROPS: ['3', '9']", ("3",)),
            ("GET_CROPS: ['all', '0']", ("all",)),
            ("GET_CROPS: ['3'] because it is small", ("3",)),
            ("Let me look. GET_CROPS: ['3']", ("3",)),
            ("GET_CROPS GET_CROPS: ['3']", ("3",)),
            ("GET_CROPS: ['3'", ("3",)),
            ("GET_CROPS: [[3]", ("3",)),
            ("GET_CROPS: ['3, '4']", ("3", "4")),
            ("GET_CROPS: ['0' '5']", ("0", "5")),
            ("GET_CROPS: [ '3' ,, ' 5 ']", ("3", "5")),
            ("GET_CROPS: [['3']]", ("3",)),
            ("GET_CROPS: ('3')", ("3",)),
            ("GET_CROPS: '3'", ("3",)),
            ("GET_CROPS: '3', '4'", ("3", "4")),
            ("GET_CROPS: 3", ("3",)),
            ("GET_CROPS: '3' because the text on the left is small", ("3",)),
            ("GET_CROPS:\n['3']", ("3",)),
            ("GET_CROPS: ['Top-Left']", ("0",)),
            ("GET_CROPS: ['top left', 'bottom_right']", ("0", "3")),
            ("get_crops: ['4']", ("4",)),
        ],
    )
    def test_what_had_to_be_dropped_or_corrected_is_repaired(self, text, expected):
        assert paper.parse(text) == asked("repaired", expected)

    @pytest.mark.parametrize("number", ["10", "05", "19", "333"])
    def test_numbers_are_read_digit_by_digit_quoted_or_not(self, number):
        digits = tuple(dict.fromkeys(d for d in number if d != "9"))
        for text in (f"GET_CROPS: [{number}]", f"GET_CROPS: ['{number}']"):
            assert paper.parse(text) == asked("repaired", digits)

    @pytest.mark.parametrize(
        "text",
        [
            "GET_CROPS",
            "GET_CROPS: []",
            "GET_CROPS: ['9']",
            "GET_CROPS: [",
            "GET_CROPS: left of the sign",
            "GET_CROPS_NOW",
            "GET_CROPSTATUS: ['3']",
            "WGET_CROPS: ['3']",
            "GET2']",
            "GET_CROP: ['3']",
            "CROPS['top-left']",
            "_CROPS: ['2GET_CR",
            "['3']",
            "[' [' ['00",
        ],
    )
    def test_what_is_neither_an_answer_nor_a_call_is_invalid(self, text):
        assert paper.parse(text).status == "invalid"

    @pytest.mark.parametrize(
        "text",
        ["", "42", "The crops are corn.", "GET", "GET_CROP", "GET 2", "[3]", "x['3']", "ET'S 5"],
    )
    def test_an_answer_is_no_call(self, text):
        assert paper.parse(text) == Call("none")

    def test_a_crop_that_the_prompt_did_not_offer_is_not_accepted(self):
        readme = PROFILES["readme"].call
        assert readme.parse("GET_CROPS: ['0', 'all']") == asked("repaired", ("0",))
        assert readme.parse("GET_CROPS: ['all']").status == "invalid"

    @given(st.text(max_size=200), st.text(max_size=200))
    def test_every_text_is_read(self, before, after):
        call = paper.parse(f"{before}GET_CROPS{after}")
        assert call.status in ("ok", "repaired", "invalid")
        assert bool(call.ids) == (call.status != "invalid")
        assert len(set(call.ids)) == len(call.ids)


class TestWriting:
    def test_each_profile_writes_its_own_form(self):
        assert paper.render(["0", "5"]) == "GET_CROPS: ['0', '5']"
        assert PROFILES["evaluator"].call.render(["0", "5"]) == "GET_CROPS ['0', '5']"

    @profiles
    @given(crops=some_ids)
    def test_what_is_written_is_read_back(self, profile, crops):
        assert profile.call.parse(profile.call.render(crops)) == asked("ok", tuple(crops))

    @pytest.mark.parametrize("crops", [[], ["3", "3"], ["9"], ["top-left"]])
    def test_only_a_set_of_known_ids_is_written(self, crops):
        with pytest.raises(ValueError, match="not a set of crop ids"):
            paper.render(crops)

    @pytest.mark.parametrize(
        ("opening", "closing", "offered"),
        [
            ("[", "]", ["3"]),
            ("GET_CROPS: [", "]", []),
            ("GET_CROPS: [", "]", ["33"]),
            ("ZOOM <", ">", ["3"]),
        ],
    )
    def test_a_form_that_could_not_be_read_back_is_refused(self, opening, closing, offered):
        with pytest.raises(InputError):
            CropListCall(opening, closing, offered)


class TestWhereACallBegins:
    @pytest.mark.parametrize(
        ("text", "start"),
        [
            ("GET_CROPS: ['3']", 0),
            (" \nGET_CROPS: ['3']", 0),
            ("I look. GET_CROPS: ['3']", 8),
            ("I look.\nget_crops", 8),
            ("WGET_CROPS", None),
            ("GET_CROPS_NOW", None),
            ("GET_CROP", None),
        ],
    )
    def test_at_the_marker_as_a_word(self, text, start):
        assert paper.find(text) == start

    @pytest.mark.parametrize(
        ("text", "start"),
        [("WGET_CROPS", 1), ("GET_CROPS_NOW", 0), ("GET2']", 0), ("x['3']", None)],
    )
    def test_a_reply_stops_being_an_answer_at_any_piece_of_a_call(self, text, start):
        assert paper.call_start(text) == start

    @pytest.mark.parametrize(
        ("text", "certain"),
        [
            ("red", "red"),
            ("GET", ""),
            ("GET W", "GET W"),
            ("['3", ""),
            ("[a", "[a"),
            ("  GET", ""),
            ("\n", ""),
            ("I see. GET_CR", "I see. "),
            ("I see. GET_CROPS: ['3']", "I see. "),
            ("a dog", "a do"),
            ("GET2", ""),
            ("GET2 is", "GET2 is"),
        ],
    )
    def test_only_text_that_cannot_become_a_call_may_be_shown(self, text, certain):
        assert text[: paper.certain(text)] == certain

    pieces = st.sampled_from(
        [
            *"GETCROPS_ \n:['\"],29x",
            "GET",
            "GET_CROPS",
            "CROPS",
            "top",
            "top-left",
            "bottom",
            "'3']",
        ]
    )

    @given(st.lists(pieces, max_size=14).map("".join))
    def test_what_was_certain_stays_certain_and_never_belongs_to_a_call(self, text):
        certain = [paper.certain(text[:end]) for end in range(len(text) + 1)]
        assert certain == sorted(certain)
        start = paper.call_start(text)
        if start is not None:
            assert certain[-1] <= start


class TestTokens:
    tokenizer = byte_tokenizer()
    special = tokenizer.special_tokens()

    @profiles
    def test_the_fixed_text_is_what_all_calls_share(self, profile):
        call = CallTokens.build(self.tokenizer, self.special, profile.call)
        assert self.tokenizer.decode(call.opening) == f"{profile.tool.opening}'"
        ids = self.tokenizer.encode(f"{profile.tool.opening}'3")
        closing = call.fixed_after(ids, self.tokenizer.decode(ids))
        assert self.tokenizer.decode(closing) == "']"
        assert closing[-1] == self.special.im_end

    def test_it_is_given_only_where_nothing_is_to_be_decided(self):
        call = CallTokens.build(self.tokenizer, self.special, paper)
        ids = self.tokenizer.encode(paper.render(["0", "5"]))
        decisions = []
        for end in range(len(ids)):
            text = self.tokenizer.decode(ids[:end])
            if not call.fixed_after(ids[:end], text):
                decisions.append(text)
        # The call itself, each crop, and (drafted, but the model may differ) whether another
        # follows.
        assert decisions[0] == ""
        assert "GET_CROPS: ['" in decisions
        assert "GET_CROPS: ['0', '" in decisions
        assert "GET_CROPS: ['0" not in decisions
