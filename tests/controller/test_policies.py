"""What is decided on the model's behalf, and how the answer says so."""

import pytest
from PIL import Image

import awares_edge
from awares_edge import PROFILES, Policies
from awares_edge.errors import (
    ContextOverflow,
    InputError,
)
from tests.controller.scripted import IMAGE, ask


class TestNarrowPictures:
    """A picture may be 200 times as long as wide; its halves may not be narrower."""

    def test_a_crop_that_is_too_narrow_is_the_whole_picture(self):
        answer = ask("GET_CROPS: ['7', '5']", "red", image=Image.new("RGB", (27, 4000)))
        assert [crop.box for crop in answer.crops] == [(0, 0, 27, 4000)]
        assert answer.policies == ("narrow-crop:whole-image",)

    @pytest.mark.parametrize("mode", ["awares", "low"])
    def test_a_low_res_view_that_is_too_narrow_is_the_whole_picture(self, mode):
        answer = ask("red", image=Image.new("RGB", (21, 4100)), mode=mode)
        assert (answer.text, answer.view, answer.rtr) == ("red", "full", 1.0)
        assert answer.policies == ("narrow-view:full",)

    def test_crops_can_still_be_forced(self):
        image = Image.new("RGB", (21, 4100))
        answer = ask("not asked", "red", image=image, crops=("5",))
        assert [crop.box for crop in answer.crops] == [(0, 0, 21, 2050)]
        assert answer.policies == ("narrow-view:full", "forced-crops:5")

    @pytest.mark.parametrize("protocol", PROFILES)
    @pytest.mark.parametrize("size", [(20, 4000), (4000, 20), (101, 20200), (1, 200), (201, 2)])
    def test_no_picture_that_was_accepted_fails_later(self, protocol, size):
        call = PROFILES[protocol].call
        first, said = call.examples()[0], "<think>So.</think><answer>red</answer>"
        if protocol in ("paper", "readme", "evaluator", "nano"):
            first, said = "GET_CROPS: ['7', '5', '4']", "red"
        answer = ask([first, said], said, image=Image.new("RGB", size), protocol=protocol)
        assert answer.text == "red"


class TestPolicies:
    def test_an_invalid_call_is_answered_from_low_res(self):
        answer = ask(["GET_CROPS: []", "red"], constrain=False)
        assert (answer.text, answer.call_status) == ("red", "invalid")
        assert answer.policies == ("invalid-call:answer-low",)
        assert answer.rtr == 0.25
        assert answer.call_text == "GET_CROPS: []"
        assert answer.turns[0].discarded_tokens > 0

    def test_or_from_the_whole_picture(self):
        policies = Policies(invalid_call="whole-image")
        answer = ask("GET_CROPS: []", "red", constrain=False, policies=policies)
        assert (answer.text, answer.crops[0].id) == ("red", "all")
        assert answer.policies == ("invalid-call:whole-image",)

    def test_a_repaired_call_says_so(self):
        answer = ask("GET_CROPS: ['3', '3'] please", "red", constrain=False)
        assert (answer.text, answer.call_status) == ("red", "repaired")
        assert [crop.id for crop in answer.crops] == ["3"]

    @pytest.mark.parametrize(
        ("policy", "ids"), [("keep-first", ["3"]), ("whole-image", ["all"]), ("answer-low", [])]
    )
    def test_too_many_crops(self, policy, ids):
        policies = Policies(max_crops=1, too_many_crops=policy)
        call = "GET_CROPS: ['3', '0']"
        replies = [call, "red"] if ids else [[call, "red"]]
        answer = ask(*replies, policies=policies)
        assert [crop.id for crop in answer.crops] == ids
        assert answer.text == "red"
        assert answer.policies == (f"too-many-crops:{policy}",)

    def test_a_token_budget_drops_the_last_crops(self):
        answer = ask("GET_CROPS: ['3', '0']", "red", policies=Policies(max_rtr=0.5))
        assert [crop.id for crop in answer.crops] == ["3"]
        assert answer.rtr <= 0.5
        assert answer.policies == ("token-budget:dropped 0",)
        answer = ask(["GET_CROPS: ['3']", "red"], policies=Policies(max_rtr=0.3))
        assert (answer.text, answer.policies) == ("red", ("token-budget:answer-low",))

    def test_crops_that_do_not_fit_the_context_are_dropped(self):
        replies = ["GET_CROPS: ['3', '0']", "red"]
        _, two = awares_edge.scripted(replies).ask(IMAGE, "What?").turns
        needed = two.reused_tokens + two.prefill_tokens
        answer = awares_edge.scripted(replies, context=needed).ask(IMAGE, "What?")
        assert [crop.id for crop in answer.crops] == ["3"]
        assert answer.policies == ("context-overflow:dropped 0",)

    def test_a_picture_that_does_not_fit_the_context_is_refused(self):
        model = awares_edge.scripted(["red", "blue"], context=640)
        with pytest.raises(ContextOverflow, match="smaller picture"):
            model.ask(IMAGE, "What?")

    def test_a_picture_that_low_res_does_not_make_smaller_is_shown_in_full(self):
        answer = ask("red", image=IMAGE.resize((50, 50)))
        assert answer.policies == ("small-image:full",)
        assert answer.rtr == 1.0

    def test_crops_can_be_forced(self):
        answer = ask("not asked", "red", crops=("3",))
        assert answer.text == "red"
        assert [crop.id for crop in answer.crops] == ["3"]
        assert answer.policies == ("forced-crops:3",)
        with pytest.raises(InputError, match="choose from 0, 1"):
            ask("red", crops=("9",))

    def test_crops_of_an_uncuttable_picture_are_sent_once(self):
        narrow = IMAGE.resize((99, 560))
        answer = ask("GET_CROPS: ['3', '0']", "red", image=narrow, protocol="evaluator")
        assert [crop.box for crop in answer.crops] == [(0, 0, 99, 560)]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_crops": 0}, "at least 1"),
            ({"max_crops": 1.5}, "integer"),
            ({"max_crops": True}, "integer"),
            ({"max_rtr": 0}, "above 0"),
            ({"max_rtr": float("nan")}, "finite"),
            ({"max_rtr": float("inf")}, "finite"),
            ({"max_rtr": "0.5"}, "number"),
            ({"invalid_call": "answer"}, "invalid_call must be protocol or answer-low or"),
            ({"too_many_crops": None}, "too_many_crops must be keep-first or"),
        ],
    )
    def test_policies_that_cannot_hold_are_refused_at_once(self, options, message):
        with pytest.raises(InputError, match=message):
            Policies(**options)
