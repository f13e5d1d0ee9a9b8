"""The AwaRes loop on a scripted model: decisions, crops, reuse, streams."""

import pytest

import awares_edge
from awares_edge import AskOptions, CropsRequested, TextDelta
from awares_edge.errors import (
    ContextOverflow,
    ImageError,
    InputError,
    QuestionError,
    SessionError,
)
from tests.controller.scripted import FULL, IMAGE, LOW, QUADRANT, ask


def test_a_direct_answer_costs_the_low_res_view_alone():
    answer = ask("red")
    assert (answer.text, answer.call_status, answer.crops, answer.finish) == (
        "red",
        "none",
        (),
        "stop",
    )
    assert answer.visual_tokens == type(answer.visual_tokens)(LOW, 0, FULL)
    assert answer.rtr == 0.25
    assert answer.pixel_ratio == 0.25
    assert len(answer.turns) == 1


def test_a_call_is_answered_from_the_crops_in_their_order():
    answer = ask("GET_CROPS: ['3', '0']", "42")
    assert (answer.text, answer.call_status) == ("42", "ok")
    assert [crop.name for crop in answer.crops] == ["bottom-right", "top-left"]
    assert [crop.box for crop in answer.crops] == [(280, 224, 560, 448), (0, 0, 280, 224)]
    assert answer.visual_tokens.crops == 2 * QUADRANT
    assert answer.rtr == 0.75
    assert answer.pixel_ratio == 1.0  # the evaluator counts the low-res view once per crop
    assert answer.call_text == "GET_CROPS: ['3', '0']"


def test_all_is_the_whole_picture():
    answer = ask("GET_CROPS: ['all']", "42")
    assert answer.crops[0].box == (0, 0, 560, 448)
    assert answer.rtr == 1.25


def test_turn_2_prefills_what_is_appended_and_nothing_else():
    model = awares_edge.scripted(["GET_CROPS: ['3']", "42"])
    answer = model.ask(IMAGE, "What?")
    one, two = answer.turns
    opening, closing = model.prompt.reply([(1, 1)])
    text = opening[1:] + closing
    assert two.prefill_tokens == QUADRANT + len(text)
    # Everything of turn 1, its generated call and end token included, is still in the cache.
    assert two.reused_tokens == one.reused_tokens + one.prefill_tokens + one.decode_tokens
    assert one.discarded_tokens == two.discarded_tokens == 0


def test_every_token_is_computed_once():
    model = awares_edge.scripted(["GET_CROPS: ['3']", "42"])
    answer = model.ask(IMAGE, "What?")
    one, two = answer.turns
    # The last token of the answer is chosen and never fed back.
    fed = two.decode_tokens - 1
    computed = one.reused_tokens + one.prefill_tokens + one.decode_tokens + two.prefill_tokens + fed
    assert model.runtime.forwarded == computed
    assert len(model.runtime.images) == 2


def test_the_system_prompt_is_computed_once_per_model():
    model = awares_edge.scripted(["a", "b"])
    first = model.ask(IMAGE, "one?")
    before = model.runtime.forwarded
    second = model.ask(IMAGE, "two?")
    system = len(model.prompt.system())
    assert first.turns[0].reused_tokens == second.turns[0].reused_tokens == system
    assert model.runtime.forwarded - before == second.turns[0].prefill_tokens + 1


def test_a_system_prompt_that_fails_leaves_no_session_open(monkeypatch):
    model = awares_edge.scripted(["red"], context=8)
    open_session, opened = model.runtime.open_session, []
    monkeypatch.setattr(
        model.runtime, "open_session", lambda: opened.append(open_session()) or opened[-1]
    )
    for _ in range(2):
        with pytest.raises(ContextOverflow):
            model.ask(IMAGE, "What?")
    assert len(opened) == 2
    for session in opened:
        with pytest.raises(SessionError, match="closed"):
            session.decode(0)


def test_a_picture_is_computed_once_for_all_its_questions():
    model = awares_edge.scripted(["a", "GET_CROPS: ['3']", "b", "GET_CROPS: ['3']", "c"])
    with model.open(IMAGE) as picture:
        first, second, third = (picture.ask(f"{i}?") for i in range(3))
    assert first.turns[0].prefill_tokens > LOW
    assert second.turns[0].prefill_tokens == len(model.prompt.ask("1?")) < LOW
    assert second.turns[0].reused_tokens == third.turns[0].reused_tokens
    # The low-res view and one crop: the second zoom into the same crop does not encode it again.
    assert len(model.runtime.images) == 2
    assert third.text == "c"


def test_questions_about_one_picture_do_not_see_each_other():
    model = awares_edge.scripted(["GET_CROPS: ['3']", "b", "GET_CROPS: ['3']", "b"])
    with model.open(IMAGE) as picture:
        one, two = picture.ask("same?"), picture.ask("same?")
    assert one.turns[1].reused_tokens == two.turns[1].reused_tokens


@pytest.mark.parametrize(("mode", "tokens"), [("full", FULL), ("low", LOW)])
def test_baselines_go_through_the_same_code_and_never_zoom(mode, tokens):
    answer = ask(["GET_CROPS: ['3']", "red"], mode=mode)
    assert (answer.text, answer.crops, answer.call_status) == ("red", (), "none")
    assert answer.visual_tokens.low == tokens
    assert answer.rtr == tokens / FULL
    assert answer.policies == ("call-barred:turn 1",)


def test_a_second_call_is_barred():
    answer = ask("GET_CROPS: ['3']", ["GET_CROPS: ['0']", "red"])
    assert answer.text == "red"
    assert answer.policies == ("call-barred:turn 2",)


def test_an_answer_that_only_begins_like_a_call_is_an_answer():
    for text in ("GET", "GET_CROP", "G", "GET OUT"):
        answer = ask(text)
        assert (answer.text, answer.call_status) == (text, "none")


class TestStream:
    def test_text_comes_in_pieces_and_a_call_never_shows(self):
        model = awares_edge.scripted(["GET_CROPS: ['3']", "forty two"])
        with model.open(IMAGE) as picture:
            events = list(picture.stream("What?"))
        assert isinstance(events[0], CropsRequested)
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text == events[-1].text == "forty two"
        assert len(events) > 4

    def test_text_that_could_become_a_call_is_held_back_until_it_cannot(self):
        model = awares_edge.scripted(["GET WELL"])
        with model.open(IMAGE) as picture:
            pieces = [event.text for event in picture.stream("?") if isinstance(event, TextDelta)]
        assert pieces[0] == "GET W"
        assert "".join(pieces) == "GET WELL"

    def test_characters_of_several_tokens_are_never_cut(self):
        model = awares_edge.scripted(["déjà 日本"])
        with model.open(IMAGE) as picture:
            pieces = [event.text for event in picture.stream("?") if isinstance(event, TextDelta)]
        assert "".join(pieces) == "déjà 日本"
        assert "\ufffd" not in "".join(pieces)

    def test_leaving_a_stream_early_leaves_the_picture_usable(self):
        model = awares_edge.scripted(["a long answer", "red"])
        with model.open(IMAGE) as picture:
            stream = picture.stream("?")
            next(stream)
            with pytest.raises(SessionError, match="another question"):
                picture.ask("in between?")
            stream.close()
            assert picture.ask("again?").text == "red"


def test_bad_input_is_refused_before_anything_is_computed():
    model = awares_edge.scripted(["red"])
    with pytest.raises(QuestionError):
        model.ask(IMAGE, " ")
    with pytest.raises(ImageError):
        model.ask("no-such.png", "?")
    for options in (
        {"mode": "x"},
        {"max_new_tokens": 0},
        {"timeout": 0},
        {"mode": "low", "crops": ("3",)},
    ):
        with pytest.raises(InputError):
            AskOptions(**options)
    assert model.runtime.forwarded == 0


def test_the_first_view_is_the_one_that_was_shown():
    """Also of a picture so small that both views cost the same."""
    small = IMAGE.resize((50, 50))
    for mode, size in (("low", (25, 25)), ("full", (50, 50)), ("awares", (50, 50))):
        with awares_edge.scripted("red").open(small) as picture:
            answer = picture.ask("?", AskOptions(mode=mode))
            assert picture.first_view(answer).size == size


class TestScripts:
    def test_a_single_text_is_one_reply(self):
        assert awares_edge.scripted("EXIT").ask(IMAGE, "?").text == "EXIT"

    @pytest.mark.parametrize("replies", [[42], [["a", 1]], [[]], [None]])
    def test_what_is_no_text_is_refused_at_once(self, replies):
        with pytest.raises(InputError, match="must be a text"):
            awares_edge.scripted(replies)


def test_boxes_are_pixels_of_the_users_picture_even_where_the_source_is_scaled_down():
    answer = ask("GET_CROPS: ['3']", "red", protocol="nano")
    left, top, right, bottom = answer.crops[0].box
    assert (right, bottom) == IMAGE.size
    assert abs(left - 280) <= 2
    assert abs(top - 224) <= 2
