"""Several questions in one conversation: what is kept, sent once, dropped, and left alone."""

import threading

import pytest

import awares_edge
from awares_edge import PROFILES, AskOptions
from awares_edge.errors import Cancelled, ContextOverflow, DeadlineExceeded
from tests.controller.scripted import CALL, IMAGE, LOW, QUADRANT, computed_once, context_of

FOLLOW = AskOptions(follow_up=True)


def session_of(picture, view="low"):
    return picture.views._views[view].session


class TestFollowUps:
    def test_the_conversation_so_far_stays_in_context(self):
        model = awares_edge.scripted(["red", CALL, "42", "blue"])
        with model.open(IMAGE) as picture:
            answers = [picture.ask(f"{i}?", FOLLOW) for i in range(3)]
            held = context_of(picture)
        assert [answer.text for answer in answers] == ["red", "42", "blue"]
        turn = "<|im_end|>\n<|im_start|>assistant\n"
        assert held.split("<|im_start|>user\n")[1:] == [
            f"<image>0?{turn}red<|im_end|>\n",
            f"1?{turn}{CALL}<|im_end|>\n",
            f"<image>{turn}42<|im_end|>\n",
            f"2?{turn}blue",
        ]

    def test_each_question_prefills_its_own_tokens_alone(self):
        model = awares_edge.scripted(["red", CALL, "42", "blue"])
        with model.open(IMAGE) as picture:
            answers = [picture.ask(f"{i}?", FOLLOW) for i in range(3)]
            assert computed_once(model, answers, [session_of(picture)])
        asked = len(model.prompt.follow_up("1?"))
        assert [answer.turns[0].prefill_tokens for answer in answers[1:]] == [asked, asked]
        opening, closing = model.prompt.reply([(1, 1)])
        # The call's end token was cached with the call.
        assert answers[1].turns[1].prefill_tokens == QUADRANT + len(opening) - 1 + len(closing)
        assert answers[0].turns[0].prefill_tokens > LOW

    def test_a_question_that_does_not_follow_forgets_them(self):
        model = awares_edge.scripted(["red", "blue", "red"])
        with model.open(IMAGE) as picture:
            picture.ask("one?")
            picture.ask("two?", FOLLOW)
            cells = picture.ask("one?").turns[0].reused_tokens
            assert "two?" not in context_of(picture)
            assert cells == len(model.prompt.system() + model.prompt.open_picture()) + LOW

    def test_the_first_question_may_be_called_a_follow_up(self):
        one, two = (
            awares_edge.scripted("red").ask(IMAGE, "?", options)
            for options in (FOLLOW, AskOptions())
        )
        assert one.turns[0].prefill_tokens == two.turns[0].prefill_tokens

    def test_each_view_has_a_conversation_of_its_own(self):
        model = awares_edge.scripted(["red", "blue", "green"])
        with model.open(IMAGE) as picture:
            picture.ask("one?")
            picture.ask("two?", AskOptions(mode="full", follow_up=True))
            picture.ask("three?", FOLLOW)
            low, full = context_of(picture), context_of(picture, "full")
        assert ("two?" in low, "three?" in low) == (False, True)
        assert ("one?" in full, "two?" in full) == (False, True)


class TestRegionsAreSentOnce:
    def test_a_region_in_context_is_neither_encoded_nor_sent_again(self):
        model = awares_edge.scripted([CALL, "42", [CALL, "blue"]])
        with model.open(IMAGE) as picture:
            picture.ask("one?")
            again = picture.ask("two?", FOLLOW)
            held = context_of(picture)
        assert (again.text, again.crops) == ("blue", ())
        assert again.policies == ("already-shown:answer",)
        assert len(model.runtime.images) == 2
        assert held.count("<image>") == 2
        assert held.count(CALL) == 2  # the system prompt's example and the first call

    def test_of_several_only_the_new_ones_are_sent(self):
        model = awares_edge.scripted([CALL, "42", "GET_CROPS: ['3', '0']", "blue"])
        with model.open(IMAGE) as picture:
            picture.ask("one?")
            again = picture.ask("two?", FOLLOW)
        assert [crop.id for crop in again.crops] == ["0"]
        assert again.policies == ("already-shown:dropped 3",)
        assert again.visual_tokens.crops == QUADRANT

    def test_after_the_conversation_is_forgotten_it_is_sent_but_not_encoded_again(self):
        model = awares_edge.scripted([CALL, "42"] * 2)
        with model.open(IMAGE) as picture:
            picture.ask("one?")
            again = picture.ask("two?")
        assert (len(again.crops), again.turns[1].reused_regions) == (1, 1)
        assert len(model.runtime.images) == 2

    def test_forced_crops_too(self):
        model = awares_edge.scripted(["not asked", "42", "blue"])
        with model.open(IMAGE) as picture:
            picture.ask("one?", AskOptions(crops=("3",)))
            again = picture.ask("two?", AskOptions(crops=("3",), follow_up=True))
        assert (again.text, again.crops) == ("blue", ())
        assert again.policies == ("forced-crops:3", "already-shown:answer")


class TestOverflow:
    def model(self, replies, kept):
        """A context with room for `kept` exchanges with a crop, and the question behind them."""
        whole = awares_edge.scripted([CALL, "a" * 80] * kept)
        crops = iter("3012")
        with whole.open(IMAGE) as picture:
            for _ in range(kept):
                whole.runtime._replies[0] = [f"GET_CROPS: ['{next(crops)}']"]
                picture.ask("What?", FOLLOW)
            cells = session_of(picture).cells
        return awares_edge.scripted(replies, context=cells + 120)

    def test_the_oldest_exchange_is_dropped_and_the_answer_says_so(self):
        calls = [f"GET_CROPS: ['{i}']" for i in "301"]
        replies = [text for call in calls[:2] for text in (call, "a" * 80)]
        model = self.model([*replies, calls[2], "b", "c"], kept=2)
        with model.open(IMAGE) as picture:
            first, second, third = (picture.ask(f"{i}: what?", FOLLOW) for i in range(3))
            held = context_of(picture)
        assert first.policies == second.policies == ()
        assert third.policies[0] == "history:dropped 1"
        assert third.text == "b"
        assert "0: what?" not in held
        assert all(text in held for text in ("1: what?", calls[1], "2: what?"))

    def test_what_is_kept_is_computed_again_and_counted(self):
        calls = [f"GET_CROPS: ['{i}']" for i in "30"]
        replies = [text for call in calls for text in (call, "a" * 80)]
        model = self.model([*replies, "b"], kept=2)
        with model.open(IMAGE) as picture:
            picture.ask("0?")
            picture.ask("1?", FOLLOW)
            before = model.runtime.forwarded
            third = picture.ask("2: " + "what? " * 20, FOLLOW)
            turn = third.turns[0]
            assert third.policies == ("history:dropped 1",)
            assert model.runtime.forwarded - before == turn.prefill_tokens + len("b")
            view = len(model.prompt.system() + model.prompt.open_picture()) + LOW
            assert turn.reused_tokens == view
            # The picture and its crops were encoded once.
            assert len(model.runtime.images) == 3
            # Behind the view stand the second exchange and the question, as if the first had
            # never been asked.
            fresh = awares_edge.scripted([calls[1], "a" * 80, "b"])
            with fresh.open(IMAGE) as other:
                other.ask("1?")
                other.ask("2: " + "what? " * 20, FOLLOW)
                assert context_of(other) == context_of(picture)

    def test_a_region_that_was_dropped_may_be_sent_again(self):
        replies = [CALL, "a" * 80, "GET_CROPS: ['0']", "a" * 80, CALL, "b"]
        model = self.model(replies, kept=2)
        with model.open(IMAGE) as picture:
            *_, third = (picture.ask(f"{i}: what?", FOLLOW) for i in range(3))
        assert third.policies[0] == "history:dropped 1"
        assert [crop.id for crop in third.crops] == ["3"]

    def test_numbered_observations_are_dropped_together(self):
        """Mini-o3's texts name observations by number: none may come to mean another."""
        profile = PROFILES["mini-o3"]
        calls = [
            f'<grounding>{{"bbox_2d": [{i / 10}, 0.5, 1.0, 1.0], "source": "original_image"}}'
            "</grounding>"
            for i in range(3)
        ]
        answer = f"<answer>{'a' * 80}</answer>"
        replies = [text for call in calls for text in (call, answer)]
        whole = awares_edge.scripted(replies, protocol=profile.name)
        with whole.open(IMAGE) as picture:
            picture.ask("0?")
            picture.ask("1?", FOLLOW)
            assert "Observation 2" in context_of(picture)
            cells = session_of(picture).cells
        model = awares_edge.scripted(replies, protocol=profile.name, context=cells + 40)
        with model.open(IMAGE) as picture:
            *_, third = (picture.ask(f"{i}?", FOLLOW) for i in range(3))
            held = context_of(picture)
        assert third.policies == ("history:dropped 2",)
        assert ("Observation 1)" in held, "Observation 2)" in held) == (True, False)

    @pytest.mark.parametrize("context", range(2600, 3400, 50))
    def test_any_conversation_goes_on_in_any_context(self, context):
        """Also where the first question's template is longer than that of the others."""
        answer = r"<think>So.</think>\boxed{42}"
        model = awares_edge.scripted([answer] * 9, protocol="pixelreasoner", context=context)
        with model.open(IMAGE) as picture:
            answers = [picture.ask(f"{'x' * (17 * i)}?", FOLLOW) for i in range(9)]
        assert [answer.text for answer in answers] == ["42"] * 9

    def test_a_question_that_fits_nowhere_is_refused(self):
        model = self.model([CALL, "a" * 80, "b"], kept=1)
        with model.open(IMAGE) as picture:
            picture.ask("0?")
            with pytest.raises(ContextOverflow):
                picture.ask("what? " * 2000, FOLLOW)
            assert "0?" in context_of(picture)
            assert picture.ask("1?", FOLLOW).text == "b"


class TestQuestionsThatAreNotAnswered:
    """They leave the conversation as it was."""

    @pytest.fixture
    def talk(self):
        model = awares_edge.scripted([CALL, "42"])
        with model.open(IMAGE) as picture:
            picture.ask("one?")
            before = context_of(picture), session_of(picture).mark()
            yield model, picture
            model.runtime._replies.clear()
            model.runtime.script("blue")
            after = picture.ask("three?", FOLLOW)
            held, mark = before
            assert after.text == "blue"
            assert after.turns[0].reused_tokens == mark.cells
            assert context_of(picture).startswith(held)
            assert "two?" not in context_of(picture)

    def test_a_deadline(self, talk):
        _, picture = talk
        with pytest.raises(DeadlineExceeded):
            picture.ask("two?", AskOptions(follow_up=True, timeout=1e-9))

    def test_a_cancelled_one(self, talk):
        model, picture = talk
        model.runtime.script("a long answer")
        cancel = threading.Event()
        stream = picture.stream("two?", AskOptions(follow_up=True, cancel=cancel))
        next(stream)
        cancel.set()
        with pytest.raises(Cancelled):
            list(stream)

    def test_a_stream_that_is_left_between_turns(self, talk):
        model, picture = talk
        model.runtime.script("GET_CROPS: ['0']", "a long answer")
        stream = picture.stream("two?", FOLLOW)
        next(stream)
        stream.close()

    def test_a_stream_that_is_left_within_the_answer(self, talk):
        model, picture = talk
        model.runtime.script("GET_CROPS: ['0']", "a long answer")
        stream = picture.stream("two?", FOLLOW)
        next(stream)
        next(stream)
        stream.close()

    def test_a_runtime_that_fails(self, talk, monkeypatch):
        model, picture = talk
        model.runtime.script("GET_CROPS: ['0']", "blue")

        def fail(_):
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(model.runtime, "encode_image", fail)
            with pytest.raises(MemoryError):
                picture.ask("two?", FOLLOW)


class TestProgressiveMode:
    """The crop set is used again inside a crop."""

    def ask(self, *replies, **options):
        model = awares_edge.scripted(replies)
        with model.open(IMAGE) as picture:
            answer = picture.ask("What?", AskOptions(mode="progressive", **options))
            assert computed_once(model, [answer], [session_of(picture)])
        return answer

    def test_a_crop_of_a_crop(self):
        answer = self.ask(CALL, "GET_CROPS: ['0']", "42")
        assert answer.text == "42"
        assert [crop.box for crop in answer.crops] == [(280, 224, 560, 448), (280, 224, 420, 336)]
        assert [crop.turn for crop in answer.crops] == [0, 1]
        assert [crop.size for crop in answer.crops] == [(280, 224), (140, 112)]

    def test_three_calls_and_no_more(self):
        answer = self.ask(CALL, "GET_CROPS: ['0']", CALL, ["GET_CROPS: ['0']", "42"])
        assert answer.text == "42"
        assert answer.crops[-1].box == (350, 280, 420, 336)
        assert answer.policies == ("call-barred:turn 4",)

    def test_or_as_many_as_the_caller_says(self):
        answer = self.ask(CALL, ["GET_CROPS: ['0']", "42"], max_calls=1)
        assert (len(answer.crops), answer.policies) == (1, ("call-barred:turn 2",))
        answer = self.ask(*[CALL] * 4, "42", max_calls=9)
        assert len(answer.crops) == 4

    def test_a_token_budget_ends_it(self):
        policies = awares_edge.Policies(max_rtr=0.55)
        answer = self.ask(CALL, [CALL, "42"], policies=policies)
        assert (answer.text, len(answer.crops)) == ("42", 1)
        assert answer.policies == ("token-budget:answer-low",)
        assert answer.rtr <= 0.55

    def test_the_whole_of_a_crop_is_that_crop(self):
        answer = self.ask(CALL, ["GET_CROPS: ['all']", "42"])
        assert (answer.text, answer.policies) == ("42", ("already-shown:answer",))
