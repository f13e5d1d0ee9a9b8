"""What is a call, what is an answer, and what is shown of either."""

import json

import pytest
from tokenizers import Tokenizer

from awares_edge import PROFILES, Model
from awares_edge.protocol import TextTokenizer
from awares_edge.runtimes.null import NullRuntime, byte_tokenizer
from awares_edge.vision import Preprocessing
from tests.controller.scripted import CALL, IMAGE, ask, pieces_of


class TestWhereACallBegins:
    """One definition for what is decoded, read and shown."""

    @pytest.mark.parametrize("space", [" ", "\n", " \n\t"])
    def test_white_space_before_a_call_changes_nothing(self, space):
        shown, answer = pieces_of(space + CALL, "42")
        assert (shown, answer.text, answer.call_status) == ("42", "42", "ok")

    @pytest.mark.parametrize("space", ["", " ", "\n"])
    def test_nor_does_it_where_no_call_is_allowed(self, space):
        reply = [space + CALL, "red"]
        for replies, mode in ([reply], "low"), ([CALL, reply], "awares"):
            shown, answer = pieces_of(*replies, mode=mode)
            assert shown.strip() == answer.text == "red"
            assert answer.policies == (f"call-barred:turn {len(answer.turns)}",)

    def test_a_call_after_a_preamble_is_repaired_and_not_shown(self):
        shown, answer = pieces_of(f"Let me look. {CALL}", "42")
        assert (shown, answer.text, answer.call_status) == ("Let me look. 42", "42", "repaired")

    @pytest.mark.parametrize("mode", ["full", "low"])
    def test_where_it_is_not_allowed_the_answer_goes_on_from_there(self, mode):
        shown, answer = pieces_of([f"It is {CALL}", "It is red"], mode=mode)
        assert shown == answer.text == "It is red"
        assert answer.policies == ("call-barred:turn 1",)

    @pytest.mark.parametrize("debris", ["GET2']", "GET_CROPS_NOW", "GET_CROPS", "GET_CROP['3']"])
    def test_neither_an_answer_nor_a_call_is_invalid_and_never_shown(self, debris):
        shown, answer = pieces_of([debris, "red"], constrain=False)
        assert shown == answer.text == "red"
        assert answer.call_status == "invalid"
        assert answer.policies == ("invalid-call:answer-low",)

    @pytest.mark.parametrize("debris", ["GET2']", "GET_CROPS_NOW", "WGET_CROPS: ['3']"])
    def test_nor_is_it_the_answer_of_another_turn(self, debris):
        shown, answer = pieces_of(CALL, [debris, "Wide"])
        assert shown == answer.text == "Wide"
        assert answer.policies == ("call-barred:turn 2",)


class TestTokensThatCarryMoreThanTheMarker:
    """Tokens of a trained vocabulary do not end where the marker ends."""

    @staticmethod
    def ask(*replies, tokens=(), tokenizer=None):
        tokenizer = tokenizer or byte_tokenizer()
        tokenizer._tokenizer.add_tokens(list(tokens))
        runtime = NullRuntime(replies, tokenizer)
        special = runtime.tokenizer.special_tokens()
        profile = PROFILES["paper"]
        with Model(runtime, runtime.tokenizer, special, profile, Preprocessing()) as model:
            return model.ask(IMAGE, "What?")

    @pytest.mark.parametrize("word", ["GET_CROPSTATUS", "GET_CROPSS"])
    def test_a_word_that_goes_beyond_the_marker_is_no_call(self, word):
        answer = self.ask([word, "red"], tokens=[word])
        assert (answer.text, answer.call_status, answer.call_text) == ("red", "invalid", word)

    def test_nor_is_one_that_goes_on_in_the_next_token(self):
        answer = self.ask(["GET_CROPS_NOW", "red"], tokens=["GET_CROPS", "_NOW"])
        assert (answer.text, answer.call_status) == ("red", "invalid")

    def test_the_marker_followed_by_anything_else_is_held_to_its_grammar(self):
        answer = self.ask(
            ["GET_CROPS please", "GET_CROPS: ['3']"], "red", tokens=["GET_CROPS", " please"]
        )
        assert (answer.text, answer.call_status, answer.call_text) == ("red", "ok", CALL)

    def test_a_token_that_leaves_the_grammar_at_once_is_read_as_it_is(self):
        answer = self.ask(["GET_CROPS['9", "red"], tokens=["GET_CROPS['9"])
        assert (answer.text, answer.call_status) == ("red", "invalid")

    def test_what_was_shown_stays_even_where_it_turns_out_to_begin_a_call(self):
        replies = ["dGx GET_CROPSS", "dGET_CROPS", "dG is"]
        answer = self.ask(replies, tokens=["x GET_CROPSS"])
        assert (answer.text, answer.call_status) == ("dG is", "invalid")

    def test_a_vocabulary_that_cannot_go_on_with_the_call_ends_it(self):
        tokenizer = json.loads(byte_tokenizer()._tokenizer.to_str())
        for character in ":[Ġ":
            del tokenizer["model"]["vocab"][character]
        cut = TextTokenizer(Tokenizer.from_str(json.dumps(tokenizer)))
        answer = self.ask(["GET_CROPS", "red"], tokenizer=cut)
        assert (answer.text, answer.call_status) == ("red", "invalid")

    def test_a_call_may_be_one_token(self):
        answer = self.ask(CALL, "red", tokens=[CALL.replace(" ", "")])
        assert (answer.text, answer.call_status) == ("red", "ok")


def test_forced_crops_are_written_as_the_profile_writes_them():
    for name, text in (("paper", "GET_CROPS: ['3']"), ("evaluator", "GET_CROPS ['3']")):
        forced = ask("not asked", "red", crops=("3",), protocol=name)
        asked = ask(text, "red", protocol=name)
        assert forced.call_text == asked.call_text == text
        one, two = (a.turns[1].reused_tokens + a.turns[1].prefill_tokens for a in (forced, asked))
        assert one == two
