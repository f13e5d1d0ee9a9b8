"""One bias on the decision to look closer: fitted on margins that are known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import awares_edge
from awares_edge import AskOptions
from awares_edge.calibration.decisions import (
    LEAST_QUESTIONS,
    Decisions,
    Goal,
    fit_call_rate,
    fit_deadline,
    fit_rtr,
)
from awares_edge.calibration.outcomes import Measured, Way, decisions, margins, measure
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.errors import InputError
from awares_edge.protocol.calibration import Calibration
from tests.controller.scripted import CALL, IMAGE
from tests.controller.test_answer_grammar import yes_or_no

# A direct answer costs a quarter of the visual tokens and 50 ms, a call another quarter and 100 ms.
DIRECT, CALLED = Way(False, 0.25, 50.0), Way(True, 0.5, 150.0)


def known(margins, direct=DIRECT, call=CALLED):
    return Decisions([Measured(float(margin), direct, call) for margin in margins])


EVEN = np.arange(-100, 100) + 0.5
"""200 margins, half of them above 0."""


def test_a_bias_decides_who_calls_and_so_what_everything_costs():
    before, after = known(EVEN).at(0.0), known(EVEN).at(-50.0)
    assert (before.call_rate, before.rtr, before.accuracy) == (0.5, 0.375, 0.5)
    assert (after.call_rate, after.rtr, after.accuracy) == (0.25, 0.3125, 0.25)
    assert (before.ms_p90, known(EVEN).at(-99.0).ms_p90) == (150.0, 50.0)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 0.805, 1.0])
def test_the_reference_calls_as_often_afterwards(rate):
    found = known(EVEN)
    assert found.at(fit_call_rate(found, rate)).call_rate == rate


@settings(max_examples=20)
@given(st.floats(-20, 20), st.integers(0, 2**32 - 1))
def test_a_shift_of_all_margins_is_undone_on_other_questions_too(shift, seed):
    """What quantization does at its simplest; clusters are far apart, as trained models' are."""
    rng = np.random.default_rng(seed)

    def drawn():
        return np.where(rng.random(400) < 0.4, 50.0, -50.0) + rng.uniform(-10, 10, 400)

    fit, other = drawn(), drawn()
    bias = fit_call_rate(known(fit + shift * 10), float((fit > 0).mean()))
    assert known(other + shift * 10).at(bias).call_rate == (other > 0).mean()


def test_nothing_changes_where_the_rates_agree_already():
    assert fit_call_rate(known(EVEN), 0.5) == 0.0


def test_equal_margins_cannot_be_told_apart():
    found = known([1.0] * 150 + [-1.0] * 50)
    assert found.at(fit_call_rate(found, 0.5)).call_rate in (0.75, 0.0, 0.25)
    assert fit_call_rate(found, 0.5) == 0.0


@pytest.mark.parametrize("target", [0.25, 0.3, 0.375, 0.49, 0.5])
def test_visual_tokens_meet_their_target(target):
    found = known(EVEN)
    assert found.at(fit_rtr(found, target)).rtr == pytest.approx(target, abs=0.25 / 200)


def test_a_target_out_of_reach_names_the_range():
    with pytest.raises(InputError, match=r"0\.2 cannot be reached.* 0\.250 without .* 0\.500 with"):
        fit_rtr(known(EVEN), 0.2)
    with pytest.raises(InputError, match="cannot be reached"):
        fit_rtr(known(EVEN), 0.6)


def test_a_deadline_takes_away_no_more_calls_than_it_must():
    found = known(EVEN)
    bias = fit_deadline(found, 100.0)
    # One question of ten may take longer, and does.
    assert 0.09 <= found.at(bias).call_rate <= 0.1
    assert found.at(bias).ms_p90 <= 100.0


def test_a_deadline_that_is_met_changes_nothing():
    assert fit_deadline(known(EVEN), 150.0) == 0.0
    # The model never zooms more often than it wants to.
    assert fit_deadline(known(EVEN - 80), 1000.0) == 0.0


def test_a_deadline_out_of_reach_names_the_range():
    with pytest.raises(InputError, match=r"49 ms cannot be reached.* 50\.0 ms .* 150\.0 ms"):
        fit_deadline(known(EVEN), 49.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_goals_must_be_finite_and_above_0(value):
    for fit in (fit_rtr, fit_deadline):
        with pytest.raises(InputError, match="must be a finite number above 0"):
            fit(known(EVEN), value)


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.1])
def test_a_rate_is_a_share(value):
    with pytest.raises(InputError, match="between 0 and 1"):
        fit_call_rate(known(EVEN), value)


def test_a_goal_is_one_of_three_and_says_which():
    found = known(EVEN)
    for goal, bias, text in (
        (Goal(call_rate=0.25), -50.0, "a reference's call rate of 0.2500"),
        (Goal(rtr=0.3125), -50.0, "a mean RTR of 0.3125"),
        (Goal(ms_p90=150.0), 0.0, "9 of 10 within 150 ms"),
    ):
        assert (goal.fit(found), str(goal)) == (bias, text)
    for goal in (Goal(), Goal(0.5, 0.3)):
        with pytest.raises(InputError, match="one goal"):
            goal.fit(found)


def test_too_few_questions_say_how_many_are_missing():
    with pytest.raises(InputError, match=r"at least 100 .* there are 93: give 7 more"):
        known(EVEN[:93])


@pytest.mark.parametrize("margin", [math.nan, math.inf])
def test_margins_must_be_finite(margin):
    with pytest.raises(InputError, match="not finite"):
        known([*EVEN, margin])


def test_accuracy_is_of_the_answers_that_are_known():
    unknown = Way(None, 0.25, 50.0)
    assert known(EVEN, unknown, replace(unknown, rtr=0.5)).at(0.0).accuracy is None
    assert known(EVEN, unknown).at(0.0).accuracy == 1.0  # of the half that calls


def test_the_curve_goes_from_no_call_to_every_call():
    curve = known(EVEN).curve()
    assert [point.call_rate for point in curve] == pytest.approx(np.linspace(0, 1, 11), abs=0.005)
    assert [p.bias for p in curve] == sorted(p.bias for p in curve)


def test_uncertainty_is_that_of_a_mean():
    calls, rtr = known(EVEN).uncertainty(0.0)
    assert calls == pytest.approx(1.96 * 0.5 / math.sqrt(200))
    assert rtr == pytest.approx(calls / 4)


# Asking a model. A scripted reply's first choice has the logit 10 plus the others' number, its
# second 1 less: here the call leads by 1, or trails by 1.
WANTS_CALL, WANTS_ANSWER = [CALL, "7"], ["7", CALL]
ASKED = CalibrationQuestion(IMAGE, "What?", answer="8")


def test_each_question_is_asked_both_ways():
    model = awares_edge.scripted([WANTS_CALL, WANTS_CALL, "8", WANTS_ANSWER, WANTS_ANSWER, "8"])
    first, second = measure([ASKED, ASKED], model)
    assert (first.margin, second.margin) == (1.0, -1.0)
    for one in (first, second):
        assert (one.direct.right, one.direct.rtr) == (False, 0.25)
        assert (one.call.right, one.call.rtr) == (True, 0.5)


def test_a_picture_too_small_to_zoom_decides_nothing():
    small = CalibrationQuestion(np.zeros((28, 28, 3), np.uint8), "What?")
    assert measure([small], awares_edge.scripted(["7", "7"])) == [None]


def test_a_reference_decides_with_its_own_bias():
    model = awares_edge.scripted([WANTS_ANSWER] * 4)
    assert margins([ASKED], model) == [-1.0]
    assert decisions([ASKED], model) == [False]
    model.calibration = Calibration("", "", decision_bias=1.5)
    assert decisions([ASKED], model) == [True]


def test_an_unknown_answer_is_neither_right_nor_wrong():
    model = awares_edge.scripted([WANTS_CALL, WANTS_CALL, "8"])
    [one] = measure([replace(ASKED, answer=None)], model)
    assert one.direct.right is one.call.right is None


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        ("deepeyes", "thinks before it calls"),
        ("ergo", "thinks before it calls|every first reply is a call"),
    ],
)
def test_profiles_without_such_a_decision_are_refused(profile, reason):
    with pytest.raises(InputError, match=reason):
        measure([ASKED], awares_edge.scripted(["7"], protocol=profile))


# The controller.


@pytest.mark.parametrize(
    ("reply", "bias", "calls"),
    [
        (WANTS_CALL, 0.0, True),
        (WANTS_CALL, -0.5, True),
        (WANTS_CALL, -1.5, False),
        (WANTS_ANSWER, 0.0, False),
        (WANTS_ANSWER, 0.5, False),
        (WANTS_ANSWER, 1.5, True),
    ],
)
def test_the_reply_begins_with_a_call_where_margin_and_bias_are_above_0(reply, bias, calls):
    model = awares_edge.scripted([reply, "8"])
    answer = model.ask(IMAGE, "What?", AskOptions(decision_bias=bias))
    assert answer.text == ("8" if calls else "7")
    assert answer.zoomed == calls
    assert answer.decision_margin == (1.0 if reply is WANTS_CALL else -1.0)
    assert answer.decision_bias == bias
    shown = json.loads(json.dumps(answer.to_dict()))
    assert (shown["decision_margin"], shown["decision_bias"]) == (answer.decision_margin, bias)


def test_the_bundles_bias_is_used_unless_the_caller_gives_another():
    model = awares_edge.scripted([WANTS_ANSWER, "8", WANTS_ANSWER])
    model.calibration = Calibration("", "", decision_bias=1.5)
    assert model.ask(IMAGE, "What?").text == "8"
    assert model.ask(IMAGE, "What?", AskOptions(decision_bias=0.0)).text == "7"


WITHOUT_DECISION = [{"mode": "low"}, {"mode": "full"}, {"crops": ("3",)}]


@pytest.mark.parametrize("options", WITHOUT_DECISION)
def test_where_no_call_is_possible_there_is_no_decision(options):
    model = awares_edge.scripted(["7", "7"])
    model.calibration = Calibration("", "", decision_bias=5.0)
    answer = model.ask(IMAGE, "What?", AskOptions(**options))
    assert (answer.decision_margin, answer.decision_bias) == (None, 0.0)
    with pytest.raises(InputError, match="leave decision_bias out"):
        AskOptions(**options, decision_bias=1.0)


@pytest.mark.parametrize("profile", ["deepeyes", "ergo"])
def test_profiles_whose_first_token_does_not_decide_take_no_bias(profile):
    model = awares_edge.scripted(["<think>so</think><answer>7</answer>"] * 2, protocol=profile)
    with pytest.raises(InputError, match=f"under the profile {profile} .* leave decision_bias out"):
        model.ask(IMAGE, "What?", AskOptions(decision_bias=1.0))
    # What a manifest may say does not keep a model from thinking.
    model.calibration = Calibration("", "", decision_bias=1e4)
    answer = model.ask(IMAGE, "What?")
    assert answer.reasoning.startswith("<think>so</think>")
    assert answer.decision_margin is None


def test_each_question_of_a_conversation_is_decided_anew():
    model = awares_edge.scripted([WANTS_ANSWER, "8", ["7", "GET_CROPS: ['0']"], "9"])
    model.calibration = Calibration("", "", decision_bias=1.5)
    with model.open(IMAGE) as picture:
        found = [picture.ask("What?"), picture.ask("And?", AskOptions(follow_up=True))]
    assert [answer.text for answer in found] == ["8", "9"]
    assert [answer.decision_margin for answer in found] == [-1.0, -1.0]


@pytest.mark.parametrize(("bias", "text"), [(0.0, "no"), (1.5, "yes"), (-1e4, "no")])
def test_an_answer_grammar_leaves_the_decision_to_the_bias(bias, text):
    model = awares_edge.scripted([["no", CALL], "yes"])
    options = AskOptions(grammar=yes_or_no(model), decision_bias=bias)
    answer = model.ask(IMAGE, "Is it red?", options)
    assert (answer.text, answer.zoomed) == (text, text == "yes")
    assert answer.decision_margin == -1.0


def test_a_later_turn_is_not_biased():
    """The bias was fitted on the first one."""
    model = awares_edge.scripted([WANTS_ANSWER, ["8", "GET_CROPS: ['0']"]])
    answer = model.ask(IMAGE, "What?", AskOptions(mode="progressive", decision_bias=5.0))
    assert (len(answer.turns), answer.text) == (2, "8")


@pytest.mark.parametrize("bias", [math.nan, math.inf, 1e6, "1", True])
def test_a_bias_must_be_a_number_within_its_limit(bias):
    with pytest.raises(InputError, match="decision_bias must be between"):
        AskOptions(decision_bias=bias)


def test_the_least_number_of_questions_is_stated_as_it_is():
    half = 1.96 * 0.5 / math.sqrt(LEAST_QUESTIONS)
    assert 0.09 < half < 0.1
