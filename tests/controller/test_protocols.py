"""A scripted model plays every published protocol from the question to the answer."""

from dataclasses import dataclass

import numpy as np
import pytest

import awares_edge
from awares_edge import (
    PROFILES,
    AskOptions,
    CropsRequested,
    Model,
    ReasoningDelta,
    TextDelta,
)
from awares_edge.protocol.reading import read_reply
from awares_edge.runtimes.null import NullRuntime, byte_tokenizer
from awares_edge.vision import Preprocessing
from tests.controller.scripted import IMAGE, ask, computed_once, context_of

TAGGED = "<think>I see.</think><answer>42</answer>"


@dataclass(frozen=True)
class Case:
    """One protocol: a call for the bottom right quarter, the box it means, an answer of 42."""

    call: str
    box: tuple[int, int, int, int] = (280, 224, 560, 448)
    answer: str = TAGGED


def tool_call(name, arguments):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def deepeyes(box):
    return tool_call("image_zoom_in_tool", f'{{"bbox_2d": {box}}}')


def mini_o3(box, source="original_image"):
    return f'<grounding>{{"bbox_2d": {box}, "source": "{source}"}}</grounding>'


def pixelreasoner(box, picture=1):
    return tool_call("crop_image_normalized", f'{{"bbox_2d": {box}, "target_image":{picture}}}')


LOW_RES_BOX = '{"name": "request_local_region", "arguments": {"bbox_2d": [140, 112, 280, 224]}}'
CASES = {
    "paper": Case("GET_CROPS: ['3']", answer="42"),
    "readme": Case("GET_CROPS: ['3']", answer="42"),
    "evaluator": Case("GET_CROPS ['3']", answer="42"),
    "nano": Case("GET_CROPS: ['3']", answer="42"),
    "visionthink": Case(tool_call("resize_image", '{"action": "resize"}'), (0, 0, 560, 448)),
    "adaptvision": Case(f"<tool_call>{LOW_RES_BOX}</tool_call>"),
    "deepeyes": Case(deepeyes([280, 224, 560, 448])),
    # As published, the far edges are those of the last pixel.
    "mini-o3": Case(mini_o3([0.5, 0.5, 1.0, 1.0]), (280, 224, 559, 447)),
    # A tenth of the picture is added on each side.
    "pixelreasoner": Case(
        pixelreasoner([0.5, 0.5, 0.9, 0.9]), (224, 179, 560, 448), r"<think>So.</think>\boxed{42}"
    ),
    "ergo": Case("<zoom>[280, 224, 560, 448]</zoom>"),
}
assert set(CASES) == set(PROFILES)


@pytest.fixture(params=CASES)
def protocol(request):
    return request.param


class TestEveryProtocol:
    def test_a_direct_answer(self, protocol):
        if protocol == "ergo":
            pytest.skip("its first reply is always a call")
        answer = ask(CASES[protocol].answer, protocol=protocol)
        assert (answer.text, answer.crops, answer.call_status) == ("42", (), "none")
        assert len(answer.turns) == 1
        assert answer.finish == "stop"

    def test_a_call_is_answered_from_the_region_it_names(self, protocol):
        case = CASES[protocol]
        answer = ask(case.call, case.answer, protocol=protocol)
        assert (answer.text, answer.call_status, answer.policies) == ("42", "ok", ())
        (crop,) = answer.crops
        # nano's source picture is smaller: its edges are rounded.
        assert np.abs(np.subtract(crop.box, case.box)).max() <= (2 if protocol == "nano" else 0)
        assert crop.turn == 0
        assert answer.call_text == case.call

    def test_what_stands_in_the_cache_is_what_the_profile_says(self, protocol):
        case, profile = CASES[protocol], PROFILES[protocol]
        model = awares_edge.scripted([case.call, case.answer], protocol=protocol)
        with model.open(IMAGE) as picture:
            answer = picture.ask("How many?")
            held = context_of(picture)
            assert computed_once(model, [answer], [picture.views._views["low"].session])
        read = read_reply(profile, case.call, IMAGE.size, question="How many?")
        pad = "<|vision_start|><|image_pad|><|vision_end|>"
        user = profile.user.replace("{image}", "<image>").replace("{question}", "How many?")
        assert held.startswith(f"<|im_start|>system\n{profile.system}<|im_end|>\n")
        said = held.split(f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n")[1]
        assert said == case.call + read["turn"].replace(pad, "<image>") + case.answer

    def test_a_stream_shows_the_answer_and_no_call(self, protocol):
        case = CASES[protocol]
        with awares_edge.scripted([case.call, case.answer], protocol=protocol).open(IMAGE) as one:
            *events, answer = one.stream("How many?")
        assert isinstance(events[0], CropsRequested)
        assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "42"
        thoughts = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
        assert answer.reasoning == thoughts
        assert answer.reasoning_tokens == len(thoughts.encode())
        assert ("I see." in thoughts) == (case.answer == TAGGED)


CALLS = {
    "deepeyes": [deepeyes([0, 0, x, 200]) for x in range(100, 600, 40)],
    "mini-o3": [mini_o3([0, 0, round(x / 20, 2), 0.9]) for x in range(1, 20)],
    "pixelreasoner": [pixelreasoner([0.4, 0.4, round(0.5 + x / 20, 2), 0.8]) for x in range(9)],
}


@pytest.mark.parametrize("protocol", CALLS)
class TestSeveralCalls:
    def test_each_turn_prefills_its_own_tokens_alone(self, protocol):
        calls, case = CALLS[protocol][:3], CASES[protocol]
        model = awares_edge.scripted([*calls, case.answer], protocol=protocol)
        with model.open(IMAGE) as picture:
            answer = picture.ask("How many?")
            session = picture.views._views["low"].session
            assert computed_once(model, [answer], [session])
        assert len(answer.turns) == 4
        assert [crop.turn for crop in answer.crops] == [0, 1, 2]
        for before, turn in zip(answer.turns, answer.turns[1:], strict=False):
            kept = before.reused_tokens + before.prefill_tokens + before.decode_tokens
            # The last token of a reply that a stop string ends is fed with what follows it.
            assert turn.reused_tokens in (kept, kept - 1)

    def test_after_the_last_call_the_model_must_answer(self, protocol):
        case, most = CASES[protocol], PROFILES[protocol].limits.max_calls
        calls = CALLS[protocol][: most + 1]
        answer = ask(*calls[:most], [calls[most], case.answer], protocol=protocol)
        assert answer.text == "42"
        assert len(answer.crops) == most
        assert answer.policies == (f"call-barred:turn {most + 1}",)

    def test_the_caller_may_allow_fewer(self, protocol):
        case, calls = CASES[protocol], CALLS[protocol]
        answer = ask(calls[0], [calls[1], case.answer], protocol=protocol, max_calls=1)
        assert (answer.text, len(answer.crops)) == ("42", 1)

    def test_the_same_region_is_not_sent_twice(self, protocol):
        case, call = CASES[protocol], CALLS[protocol][0]
        answer = ask(call, [call, case.answer], protocol=protocol)
        assert (answer.text, len(answer.crops)) == ("42", 1)
        assert answer.policies == ("already-shown:answer",)


class TestCallsThatCannotBeFollowed:
    """The model is told what is wrong, in the protocol's words, and may try again."""

    @pytest.mark.parametrize(
        ("call", "problem"),
        [
            ("<tool_call>zoom in</tool_call>", "not valid JSON"),
            (tool_call("zoom", '{"bbox_2d": [0, 0, 99, 99]}'), "there is no tool 'zoom'"),
            (deepeyes([0, 0, 99]), "a list of four numbers"),
            (deepeyes(["a", 0, 99, 99]).replace("'", '"'), "a list of four numbers"),
            (deepeyes([True, 0, 99, 99]).replace("True", "true"), "a list of four numbers"),
            (deepeyes("[NaN, 0, 99, 99]"), "NaN"),
            (deepeyes("[0, 0, Infinity, 99]"), "Infinity"),
            (deepeyes("[0, 0, 1e999, 99]"), "out of range"),
            (deepeyes([99, 0, 0, 99]), "x2 > x1"),
            (deepeyes([5, 5, 5, 5]), "x2 > x1"),
            (deepeyes([0, 0, 20, 20]), "too small: 20x20"),
            (deepeyes([900, 900, 1000, 1000]), "outside of the picture"),
            (deepeyes([0, 0, "9" * 400, 99]).replace("'", ""), "too long"),
        ],
    )
    def test_the_model_is_told_and_the_call_counts(self, call, problem):
        right = CASES["deepeyes"]
        options = AskOptions(constrain=False, max_calls=2)
        model = awares_edge.scripted([call, right.call, right.answer], protocol="deepeyes")
        with model.open(IMAGE) as picture:
            answer = picture.ask("How many?", options)
            held = context_of(picture)
        told = held.split(f"{call}<|im_end|>\n<|im_start|>user\nError: ")[1].split("<|im_end|>")[0]
        assert problem in told
        assert (answer.text, len(answer.crops), len(answer.turns)) == ("42", 1, 3)
        assert answer.policies == ("invalid-call:error",)
        barred = ask(call, [right.call, TAGGED], protocol="deepeyes", constrain=False, max_calls=1)
        assert barred.policies == ("invalid-call:error", "call-barred:turn 2")
        assert (barred.text, barred.call_status, barred.crops) == ("42", "invalid", ())

    def test_a_number_of_ten_thousand_digits_is_an_error_like_any_other(self):
        tokenizer, digits = byte_tokenizer(), "9" * 10_000
        tokenizer._tokenizer.add_tokens([digits])
        runtime = NullRuntime([deepeyes(f"[0, 0, {digits}, 9]"), TAGGED], tokenizer)
        profile, special = PROFILES["deepeyes"], tokenizer.special_tokens()
        with Model(runtime, tokenizer, special, profile, Preprocessing()) as model:
            answer = model.ask(IMAGE, "How many?", AskOptions(constrain=False))
        assert (answer.text, answer.policies) == ("42", ("invalid-call:error",))

    def test_a_box_beyond_the_picture_is_cut_at_its_edges(self):
        answer = ask(deepeyes([-50, 100, 9000, 9000]), TAGGED, protocol="deepeyes")
        assert [crop.box for crop in answer.crops] == [(0, 100, 560, 448)]

    def test_a_call_that_the_token_limit_cuts_off_counts_too(self):
        for constrain in (True, False):
            answer = ask(
                f"<think>{'hm ' * 9}</think>{deepeyes([0, 0, 99, 99])}",
                TAGGED,
                protocol="deepeyes",
                max_new_tokens=70,
                constrain=constrain,
            )
            assert (answer.text, answer.crops) == ("42", ())
            assert (answer.call_status, answer.policies) == ("invalid", ("invalid-call:error",))

    def test_an_error_that_does_not_fit_the_context_is_not_told(self):
        bad, profile = deepeyes([0, 0, 20, 20]), "deepeyes"
        whole = awares_edge.scripted([bad, TAGGED], protocol=profile)
        used = whole.ask(IMAGE, "?").turns[1].reused_tokens
        model = awares_edge.scripted([[bad, TAGGED]], protocol=profile, context=used + 40)
        answer = model.ask(IMAGE, "?")
        assert (answer.text, answer.policies) == ("42", ("context-overflow:answer-low",))

    @pytest.mark.parametrize("policy", ["answer-low", "whole-image"])
    def test_the_caller_may_choose_otherwise(self, policy):
        bad = deepeyes([0, 0, 20, 20])
        replies = [[bad, TAGGED]] if policy == "answer-low" else [bad, TAGGED]
        policies = awares_edge.Policies(invalid_call=policy)
        answer = ask(*replies, protocol="deepeyes", policies=policies)
        assert (answer.text, answer.policies) == ("42", (f"invalid-call:{policy}",))
        assert [crop.box for crop in answer.crops] == [(0, 0, 560, 448)][: len(replies) - 1]

    def test_the_grammar_mends_what_it_can(self):
        """A model that wants to leave a call's grammar is held to it."""
        call = deepeyes([280, 224, 560, 448])
        wrong = call.replace("image_zoom_in_tool", "zoom")
        answer = ask([wrong, call], TAGGED, protocol="deepeyes")
        assert (answer.call_text, answer.call_status, answer.policies) == (call, "ok", ())


class TestWhereACallStands:
    def test_a_call_among_thoughts_counts(self):
        answer = ask(f"<think>Let me look: {CASES['deepeyes'].call}", TAGGED, protocol="deepeyes")
        assert (answer.text, len(answer.crops)) == ("42", 1)
        assert answer.reasoning == "<think>Let me look: <think>I see.</think>"

    @pytest.mark.parametrize("protocol", ["deepeyes", "mini-o3", "ergo", "visionthink"])
    def test_a_stop_string_ends_the_reply_as_its_end_token_does(self, protocol):
        case = CASES[protocol]
        model = awares_edge.scripted([f"{case.call} and so on", case.answer], protocol=protocol)
        with model.open(IMAGE) as picture:
            answer = picture.ask("How many?")
            held = context_of(picture)
            assert computed_once(model, [answer], [picture.views._views["low"].session])
        assert f"{case.call}<|im_end|>{PROFILES[protocol].reply.join}<|im_start|>user" in held
        assert "and so on" not in held
        assert (answer.text, answer.call_text, answer.call_status) == ("42", case.call, "ok")

    def test_an_answer_without_marks_is_all_of_the_last_turn(self):
        for protocol in ("visionthink", "deepeyes", "pixelreasoner"):
            model = awares_edge.scripted([CASES[protocol].call, "forty two"], protocol=protocol)
            with model.open(IMAGE) as picture:
                *events, answer = picture.stream("How many?")
            shown = "".join(e.text for e in events if isinstance(e, TextDelta))
            assert shown == answer.text == "forty two"


class TestModelsThatMustCall:
    """ERGO's first reply is always a call."""

    @pytest.mark.parametrize(
        "reply", ["<think>Nothing to see.</think>", "<zoom>[1, 2]</zoom>", "<zoom>the sign</zoom>"]
    )
    def test_without_a_box_the_whole_picture_is_sent(self, reply):
        answer = ask(reply, TAGGED, protocol="ergo", constrain=False)
        assert (answer.text, answer.policies) == ("42", ("must-call:whole-image",))
        assert [crop.box for crop in answer.crops] == [(0, 0, 560, 448)]

    def test_nor_with_one_that_cannot_be_cut(self):
        answer = ask("<zoom>[300, 9, 200, 99]</zoom>", TAGGED, protocol="ergo")
        assert [crop.box for crop in answer.crops] == [(0, 0, 560, 448)]
        assert answer.policies == ("must-call:whole-image",)

    def test_where_there_is_no_room_the_reply_is_the_answer(self):
        policies = awares_edge.Policies(max_rtr=1.2)
        answer = ask(TAGGED, protocol="ergo", policies=policies)
        assert (answer.text, answer.crops) == ("42", ())
        assert answer.turns[0].decode_tokens == len(TAGGED) + 1

    def test_nor_is_one_that_was_cut_off_continued(self):
        policies = awares_edge.Policies(max_rtr=1.2)
        answer = ask("It is red, I think", protocol="ergo", policies=policies, max_new_tokens=9)
        assert (answer.text, answer.finish) == ("It is red", "length")
        assert answer.turns[0].decode_tokens == 9

    def test_a_baseline_answers_at_once(self):
        assert ask(TAGGED, protocol="ergo", mode="low").text == "42"


class TestRegionsOfRegions:
    def test_an_observation_is_cut_as_it_was_cut(self):
        """Mini-o3: the bottom right quarter of an observation that was the right half."""
        replies = [mini_o3([0.5, 0, 1.0, 1.0]), mini_o3([0.5, 0.5, 1.0, 1.0], "observation_1")]
        answer = ask(*replies, TAGGED, protocol="mini-o3")
        half, quarter = (crop.box for crop in answer.crops)
        assert half == (280, 0, 559, 447)
        # int(279 / 2), int(447 / 2), and the last pixel of 279 x 447.
        assert quarter == (280 + 139, 223, 280 + 278, 446)

    def test_observations_are_numbered_by_success_and_actions_by_round(self):
        bad, good = mini_o3([0, 0, 0, 0]), mini_o3([0.5, 0, 1.0, 1.0])
        then = mini_o3([0, 0, 0.5, 0.5], "observation_1")
        model = awares_edge.scripted([bad, good, then, TAGGED], protocol="mini-o3")
        with model.open(IMAGE) as picture:
            answer = picture.ask("How many?", AskOptions(constrain=False))
            held = context_of(picture)
        assert "After the above Action 1, here is the the zoom-in image (Observation 2)" in held
        assert [crop.turn for crop in answer.crops] == [1, 2]
        assert answer.crops[1].box == (280, 0, 280 + 139, 223)

    def test_a_numbered_picture_is_cut_as_it_was_sent(self):
        """PixelReasoner: pixels of picture 2 are those of the scaled crop."""
        first = pixelreasoner([0.1, 0.1, 0.4, 0.4])
        one = ask(first, CASES["pixelreasoner"].answer, protocol="pixelreasoner").crops[0]
        width, height = one.size
        assert one.size > (one.box[2] - one.box[0], one.box[3] - one.box[1])
        left_half = pixelreasoner([0, 0, width * 0.4, height * 0.9], 2)
        answer = ask(first, left_half, CASES["pixelreasoner"].answer, protocol="pixelreasoner")
        left, top, right, bottom = answer.crops[1].box
        assert (left, top, bottom) == (one.box[0], one.box[1], one.box[3])
        # Four tenths, and the tenth that is added.
        assert right == pytest.approx(one.box[0] + (one.box[2] - one.box[0]) / 2, abs=1)

    @pytest.mark.parametrize(
        ("protocol", "call", "problem"),
        [
            ("mini-o3", mini_o3([0, 0, 0.5, 0.5], "observation_1"), "to observation_0"),
            ("mini-o3", mini_o3([0, 0, 0.5, 0.5], "photo"), "original_image or observation_0"),
            ("pixelreasoner", pixelreasoner([0, 0, 0.5, 0.5], 2), "between 1 and 1"),
            ("pixelreasoner", pixelreasoner([0, 0, 0.5, 0.5], 0), "between 1 and 1"),
        ],
    )
    def test_a_picture_that_is_not_there_is_an_error(self, protocol, call, problem):
        case = CASES[protocol]
        model = awares_edge.scripted([call, case.answer], protocol=protocol)
        with model.open(IMAGE) as picture:
            answer = picture.ask("How many?")
            assert problem in context_of(picture)
        assert (answer.text, answer.policies) == ("42", ("invalid-call:error",))
