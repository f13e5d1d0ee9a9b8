"""A server that only completes chats is asked turn by turn, by the loop that asks a local model.

Each question goes to a scripted model on this machine and to a scripted server: the answers, crops,
policies and events must be the same.
"""

from dataclasses import replace

import pytest
from PIL import Image

import awares_edge
from awares_edge import PROFILES, AskOptions, CropsRequested, Policies, ReasoningDelta, TextDelta
from tests.controller.scripted import CALL, IMAGE
from tests.controller.test_protocols import CASES, mini_o3
from tests.remote.fake import faking

SERVERS = ("llamacpp", "vllm", "sglang")
COUNTED = (
    *("prefill_tokens", "reused_tokens", "decode_tokens", "discarded_tokens", "reused_regions"),
    *("timings_ms", "runtime", "precision", "reasoning_tokens"),
    # Of logits, which no server shows.
    *("confidence", "decision_margin", "decision_bias"),
)


def local(replies, protocol, image, options, questions):
    with awares_edge.scripted(replies, protocol=protocol).open(image) as picture:
        return [list(picture.stream("What?", one)) for one in (options, *questions)]


def remote(replies, protocol, image, options, questions, owner="llamacpp", **more):
    with (
        faking(*replies, owner=owner, **more) as fake,
        awares_edge.connect(fake.url, protocol=protocol) as model,
        model.open(image) as picture,
    ):
        events = [list(picture.stream("What?", one)) for one in (options, *questions)]
        assert fake.replies == []
        return events, fake


def told(events):
    """What must not depend on where a question is answered: the answer, and what was streamed."""
    *shown, answer = events
    text = "".join(e.text for e in shown if isinstance(e, TextDelta))
    thoughts = "".join(e.text for e in shown if isinstance(e, ReasoningDelta))
    crops = [e.crops for e in shown if isinstance(e, CropsRequested)]
    facts = {k: v for k, v in answer.to_dict().items() if k not in COUNTED}
    whole = (answer.view, answer.call_text, answer.crops, len(answer.turns))
    return facts, whole, text, thoughts, crops


def same(*replies, protocol="paper", image=IMAGE, owner="llamacpp", follow=(), **options):
    """Ask both; the remote answer and its server."""
    asked = AskOptions(**options)
    questions = [AskOptions(follow_up=True, **one) for one in follow]
    here = local(replies, protocol, image, asked, questions)
    there, fake = remote(replies, protocol, image, asked, questions, owner)
    assert [told(e) for e in there] == [told(e) for e in here]
    return there[-1][-1], fake


@pytest.mark.parametrize("protocol", PROFILES)
@pytest.mark.parametrize("owner", [*SERVERS, "someone"])
def test_every_protocol_zooms_once(protocol, owner):
    case = CASES[protocol]
    answer, fake = same(case.call, case.answer, protocol=protocol, owner=owner)
    assert (answer.text, answer.crops[0].box) == ("42", case.box)
    assert len(fake.requests) == 2


def test_a_direct_answer_is_one_request():
    answer, fake = same("42")
    assert (answer.text, answer.rtr, len(fake.requests)) == ("42", 0.25, 1)


@pytest.mark.parametrize("mode", ["full", "low"])
def test_baselines_send_no_crops(mode):
    answer, fake = same("42", mode=mode)
    assert (answer.crops, len(fake.requests)) == ((), 1)
    assert answer.view == mode


def test_forced_crops_are_sent_as_the_model_s_own_call():
    options = AskOptions(crops=("0", "8"))
    here = local(["not asked", "42"], "paper", IMAGE, options, [])
    there, fake = remote(["42"], "paper", IMAGE, options, [])
    assert told(there[0]) == told(here[0])
    answer = there[0][-1]
    assert [crop.id for crop in answer.crops] == ["0", "8"]
    assert [m["role"] for m in fake.requests[0]["messages"]] == [
        *("system", "user", "assistant", "user"),
    ]
    assert fake.requests[0]["messages"][2]["content"] == "GET_CROPS: ['0', '8']"


def test_progressive_crops_are_cut_inside_one_another():
    answer, _ = same(CALL, CALL, CALL, "42", mode="progressive")
    assert len(answer.crops) == 3
    assert answer.crops[2].box == (490, 392, 560, 448)


def test_several_calls_that_refer_to_one_another():
    first, second = mini_o3([0, 0, 0.5, 0.5]), mini_o3([0, 0, 0.5, 0.5], "observation_1")
    answer, _ = same(first, second, "<answer>42</answer>", protocol="mini-o3")
    assert len(answer.crops) == 2


def test_an_error_message_is_told_to_the_model():
    wrong = mini_o3([0.5, 0.5, 0.5, 0.5])
    answer, fake = same(wrong, "<answer>42</answer>", protocol="mini-o3")
    assert answer.policies == ("invalid-call:error",)
    assert "ERROR occurs during grounding" in fake.requests[1]["messages"][-1]["content"]


class TestPolicies:
    @pytest.mark.parametrize("owner", SERVERS)
    def test_an_invalid_call_is_taken_back_under_a_grammar(self, owner):
        answer, fake = same(["GET_CROPS: []", "red"], owner=owner, constrain=False)
        assert (answer.text, answer.policies) == ("red", ("invalid-call:answer-low",))
        assert fake.requests[1]["messages"] == fake.requests[0]["messages"]

    @pytest.mark.parametrize("owner", SERVERS)
    def test_so_is_a_call_too_many(self, owner):
        answer, _ = same(CALL, ["GET_CROPS: ['0']", "red"], owner=owner)
        assert (answer.text, answer.policies) == ("red", ("call-barred:turn 2",))

    def test_whole_image(self):
        policies = Policies(invalid_call="whole-image")
        answer, _ = same("GET_CROPS: []", "red", constrain=False, policies=policies)
        assert answer.crops[0].id == "all"

    @pytest.mark.parametrize("too_many", ["keep-first", "whole-image", "answer-low"])
    def test_too_many_crops(self, too_many):
        policies = Policies(max_crops=1, too_many_crops=too_many)
        replies = (["GET_CROPS: ['0', '3']", "42"],) if too_many == "answer-low" else (
            "GET_CROPS: ['0', '3']", "42",
        )  # fmt: skip
        same(*replies, policies=policies)

    def test_a_token_budget_drops_crops(self):
        answer, _ = same("GET_CROPS: ['0', '3']", "42", policies=Policies(max_rtr=0.5))
        assert answer.policies == ("token-budget:dropped 3",)

    def test_pictures_that_are_too_small_or_too_narrow(self):
        same("red", image=Image.new("RGB", (30, 30)))
        same("red", image=Image.new("RGB", (21, 4100)))
        same("GET_CROPS: ['7', '5']", "red", image=Image.new("RGB", (27, 4000)))

    def test_a_region_is_not_sent_twice(self):
        answer, fake = same(CALL, "42", [CALL, "43"], follow=[{}])
        assert answer.policies == ("already-shown:answer",)
        assert len(fake.requests) == 4


class TestServersThatTakeNoGrammar:
    def test_what_stands_before_a_call_is_the_answer(self):
        asked = AskOptions()
        events, fake = remote([CALL, "It is red. GET_CROPS: ['0']"], "paper", IMAGE, asked, [],
                              owner="someone")  # fmt: skip
        answer = events[0][-1]
        assert (answer.text, answer.policies) == ("It is red.", ("call-barred:turn 2",))
        assert len(fake.requests) == 2

    def test_nothing_unknown_is_sent_to_them(self):
        _, fake = remote(["42"], "mini-o3", IMAGE, AskOptions(), [], owner="someone")
        known = {"model", "messages", "temperature", "max_tokens", "stop", "stream"}
        assert fake.requests[0].keys() == known | {"stream_options"}


class TestConversations:
    def test_a_follow_up_is_the_conversation_with_a_question_more(self):
        _, fake = same(CALL, "42", "43", follow=[{}])
        first, second, third = (request["messages"] for request in fake.requests)
        assert second[: len(first)] == first
        assert third[: len(second)] == second

    def test_forgetting_begins_anew_from_the_same_picture(self):
        with (
            faking("1", "2") as fake,
            awares_edge.connect(fake.url, protocol="paper") as model,
            model.open(IMAGE) as picture,
        ):
            picture.ask("What?")
            picture.forget()
            picture.ask("Where?", AskOptions(follow_up=True))
        first, second = (request["messages"] for request in fake.requests)
        assert first[1]["content"][:-1] == second[1]["content"][:-1]
        assert len(second) == 2

    def test_a_question_that_fails_leaves_the_conversation_as_it_was(self):
        from tests.remote.fake import Fault

        follow = AskOptions(follow_up=True)
        with (
            faking("1", Fault(500), "2") as fake,
            awares_edge.connect(fake.url, protocol="paper") as model,
            model.open(IMAGE) as picture,
        ):
            picture.ask("What?")
            with pytest.raises(awares_edge.EndpointError, match="HTTP 500"):
                picture.ask("Where?", follow)
            picture.ask("Why?", follow)
        said = [m["content"] for m in fake.requests[2]["messages"][2:]]
        assert said == ["1", "Why?"]


class TestCounts:
    def test_the_second_turn_is_served_from_the_cache_of_the_first(self):
        answer, _ = same(CALL, "42")
        one, two = answer.turns
        assert one.reused_tokens == 0
        # All of the first turn: its prompt, the call, and the mark before the call.
        assert two.reused_tokens >= one.prefill_tokens + one.decode_tokens
        assert (one.decode_tokens, two.decode_tokens) == (len(CALL), 2)
        assert "reused_tokens" not in two.unreported

    def test_what_a_server_does_not_report_is_marked(self):
        events, _ = remote(["42"], "paper", IMAGE, AskOptions(), [], report=False)
        answer = events[0][-1]
        printed = answer.to_dict()
        assert printed["prefill_tokens"] == [None, 0]
        assert printed["reused_tokens"] == printed["decode_tokens"] == [None, 0]
        assert printed["timings_ms"]["decode"] == [None, 0.0]
        # What is known here is told: pictures are cut on this machine.
        assert printed["visual_tokens"] == {"low": 80, "crops": 0, "full": 320}
        assert printed["timings_ms"]["preprocess"][0] > 0

    def test_a_call_that_does_not_fit_the_server_s_context_is_answered_from_low_res(self):
        with (
            faking("GET_CROPS: ['all']", owner="llamacpp", context=700) as fake,
            awares_edge.connect(fake.url, protocol="paper") as model,
        ):
            fake.replies[0] = ["GET_CROPS: ['all']", "42"]
            answer = model.ask(IMAGE, "What?")
        assert answer.policies == ("context-overflow:answer-low",)

    def test_a_reply_that_a_limit_cut_says_so(self):
        answer, _ = same("a long answer", max_new_tokens=5)
        assert (answer.text, answer.finish) == ("a lon", "length")


class TestConfidence:
    def test_a_plain_server_does_not_report_it(self):
        events, _ = remote(["42"], "paper", IMAGE, AskOptions(), [])
        answer = events[0][-1]
        assert (answer.confidence, answer.log_probability) == (None, None)
        assert answer.to_dict()["confidence"] is None


class TestReplies:
    def test_a_server_that_does_not_stream_is_read_all_the_same(self):
        events, _ = remote([CALL, "42"], "paper", IMAGE, AskOptions(), [], streams=False)
        assert events[0][-1].text == "42"

    def test_thoughts_that_a_server_split_off_are_put_back(self):
        case = CASES["deepeyes"]
        replies = (case.call, case.answer)
        here = local(replies, "deepeyes", IMAGE, AskOptions(), [])
        there, _ = remote(replies, "deepeyes", IMAGE, AskOptions(), [], reasoning=True)
        assert told(there[0]) == told(here[0])

    @pytest.mark.parametrize("owner", ["vllm", "someone"])
    def test_a_stop_text_is_part_of_the_reply_whether_it_is_sent_or_not(self, owner):
        answer, fake = same(CASES["mini-o3"].call, CASES["mini-o3"].answer, protocol="mini-o3",
                            owner=owner)  # fmt: skip
        assert answer.call_text == CASES["mini-o3"].call
        assert fake.requests[1]["messages"][2]["content"] == answer.call_text

    @pytest.mark.parametrize("options", [
        AskOptions(decision_bias=1.0), AskOptions(policies=Policies(abstain_below=0.5)),
    ])  # fmt: skip
    def test_what_needs_logits_is_refused(self, options):
        with (
            faking() as fake,
            awares_edge.connect(fake.url, protocol="paper") as model,
            pytest.raises(awares_edge.InputError, match="a server does not report"),
        ):
            model.ask(IMAGE, "What?", options)

    def test_confidence_is_not_reported(self):
        events, _ = remote(["42"], "paper", IMAGE, AskOptions(), [])
        assert events[0][-1].to_dict()["confidence"] is None

    def test_a_grammar_of_tokens_is_refused(self):
        with faking() as fake, awares_edge.connect(fake.url, protocol="paper") as model:
            options = AskOptions(grammar=object())
            with pytest.raises(awares_edge.InputError, match="leave it out"):
                model.ask(IMAGE, "What?", replace(options))
