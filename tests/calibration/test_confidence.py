"""Confidence of answers: their probability, fitted to how often they are right."""

import math

import numpy as np
import pytest

import awares_edge
from awares_edge import AskOptions, Policies, TextDelta
from awares_edge.calibration.confidence import (
    Answered,
    ask_all,
    auroc,
    calibration_error,
    fit_temperature,
    report_kinds,
)
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.controller.confidence import TokenScores, answer_log_probability, log_probability
from awares_edge.errors import Cancelled, InputError
from awares_edge.protocol.calibration import Calibration, answer_kind, log_odds, tempered
from awares_edge.runtimes.null import byte_tokenizer
from tests.controller.scripted import CALL, IMAGE, ask, context_of
from tests.controller.test_answer_grammar import yes_or_no

VOCABULARY = byte_tokenizer().vocabulary


def scripted_probability(tokens):
    """Of a scripted reply without a second choice: each token's logit is 10, the end's 1 or 10."""
    inside = math.exp(10) / (math.exp(10) + math.exp(1) + VOCABULARY - 2)
    end = math.exp(10) / (math.exp(10) + VOCABULARY - 1)
    return inside**tokens * end


@pytest.mark.parametrize("text", ["7", "42", "forty-two"])
def test_confidence_is_the_product_over_the_answers_tokens(text):
    assert ask(text).confidence == pytest.approx(scripted_probability(len(text)), rel=1e-6)


def test_turns_with_calls_do_not_count():
    assert ask(CALL, "42").confidence == ask("42").confidence


def test_a_call_that_is_taken_back_does_not_count():
    taken_back = ask([CALL, "42"], mode="low")
    # The token in place of the call was the second choice: 10 against 11.
    first = math.exp(10) / (math.exp(11) + math.exp(10) + math.exp(1) + VOCABULARY - 3)
    rest = scripted_probability(1)
    assert taken_back.text == "42"
    assert taken_back.confidence == pytest.approx(first * rest, rel=1e-5)


def test_an_answer_in_place_of_a_call_that_the_model_preferred_is_unlikely():
    """Whether a bias or the mode kept it from calling."""
    barred = ask([CALL, "42"], mode="low")
    assert ask([CALL, "42"], decision_bias=-5.0).confidence == barred.confidence < 0.3
    assert ask(["42", CALL], decision_bias=-5.0).confidence == ask(["42", CALL]).confidence


def test_under_an_answer_grammar_it_is_the_probability_among_what_that_allows():
    model = awares_edge.scripted([["It is.", "yes"]])
    answer = model.ask(IMAGE, "Is it red?", AskOptions(grammar=yes_or_no(model)))
    # "y" or "n", and at the end one of two end tokens: logit 10 against 0. Nothing else is allowed
    # in between, so that counts as certain.
    assert answer.confidence == pytest.approx((math.exp(10) / (math.exp(10) + 1)) ** 2, rel=1e-6)


def test_log_probability_is_exact_near_certainty():
    logits = np.zeros(100, np.float32)
    logits[3] = 40.0
    assert log_probability(logits, 3) == pytest.approx(-99 * math.exp(-40), rel=1e-6)
    logits[:] = np.random.default_rng(0).normal(0, 3, 100)
    exact = logits.astype(np.float64)
    for token in (0, 50, 99):
        expected = exact[token] - np.log(np.exp(exact).sum())
        assert log_probability(logits, token) == pytest.approx(expected, rel=1e-5)


def test_an_impossible_token_has_a_finite_score():
    logits = np.array([1000.0, -1000.0], np.float32)
    assert -math.inf < log_probability(logits, 1) < -50


def test_scores_of_what_was_taken_back_are_forgotten():
    scores, sure = TokenScores(), np.array([0.0, 50.0], np.float32)
    for place in (0, 1, 2):
        scores.note(place, 0, sure)
    scores.note(1, 1, sure)
    assert len(scores.first(9)) == 2
    assert scores.first(2)[1] > -1e-9


def test_of_a_marked_answer_only_its_own_tokens_count():
    tokenizer = byte_tokenizer()
    text = "<think>42?</think><answer>42</answer>"
    ids = tuple(tokenizer.encode(text))
    scores = [-1.0] * (len(ids) + 1)
    at = text.rindex("42")
    scores[at : at + 2] = [-0.25, -0.5]
    assert answer_log_probability(tokenizer, ids, tuple(scores), "42") == -0.75
    assert answer_log_probability(tokenizer, ids, tuple(scores), "43") == sum(scores)


# Calibration.


@pytest.mark.parametrize("answer", ["yes", "No", "4", "blue", "three", "Grey."])
def test_yes_no_counts_and_colours_are_closed(answer):
    assert answer_kind(answer) == "closed"


@pytest.mark.parametrize("answer", ["42", "A53", "HOTEL", "blue bar", "", "yesterday"])
def test_everything_else_is_text(answer):
    assert answer_kind(answer) == "text"


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_between_two_answers_it_is_a_softmax_at_that_temperature(temperature):
    logits = np.array([2.0, -1.0])
    scaled = np.exp(logits / temperature)
    expected = scaled[0] / scaled.sum()
    probability = math.log(1 / (1 + math.exp(-3)))
    assert tempered(probability, temperature) == pytest.approx(expected)


@pytest.mark.parametrize("value", [-0.0, -1e-300, -1e-20, -800.0, -math.inf])
def test_the_ends_stay_between_0_and_1(value):
    assert abs(log_odds(value)) <= 700
    assert 0 <= tempered(value, 0.01) <= 1
    assert 0 <= tempered(value, 100.0) <= 1


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5, 8.0])
def test_the_temperature_that_made_the_outcomes_is_found(true):
    rng = np.random.default_rng(1)
    odds = rng.normal(3, 4, 40_000)
    right = rng.random(len(odds)) < 1 / (1 + np.exp(-odds / true))
    assert fit_temperature(odds, right) == pytest.approx(true, rel=0.05)


def test_answers_that_the_odds_tell_apart_do_not_become_certain():
    odds = np.repeat([2.0, -2.0], 50)
    temperature = fit_temperature(odds, odds > 0)
    assert 1 / (1 + math.exp(-2 / temperature)) == pytest.approx(51 / 52)


def test_fitting_mends_the_error_and_keeps_the_order():
    rng = np.random.default_rng(2)
    odds = rng.normal(3, 4, 4000)
    right = rng.random(4000) < 1 / (1 + np.exp(-odds / 3))
    log_probabilities = -np.log1p(np.exp(-odds))
    pairs = zip(log_probabilities.tolist(), right.tolist(), strict=True)
    answered = [Answered("word", *pair) for pair in pairs]
    report = report_kinds(answered)["text"]
    assert report.temperature == pytest.approx(3, rel=0.1)
    assert report.error_after < 0.03 < report.error_before
    assert report.auroc == pytest.approx(auroc(odds / 3, right))


def test_auroc_counts_pairs():
    scores = np.array([0.9, 0.8, 0.8, 0.1])
    right = np.array([True, True, False, False])
    # Of four pairs three are in order and one is equal.
    assert auroc(scores, right) == 3.5 / 4
    assert auroc(scores, np.ones(4, bool)) is None


def test_calibration_error_is_the_mean_gap_of_ten_bins():
    confidence = np.array([0.95, 0.95, 0.55, 1.0])
    right = np.array([True, False, True, True])
    # The last bin holds three: |2.9 / 3 - 2 / 3|, and one is alone: |0.55 - 1|.
    assert calibration_error(confidence, right) == pytest.approx(0.75 * 0.3 + 0.25 * 0.45)


def answers(right, wrong, text="word"):
    return [Answered(text, -0.1, True)] * right + [Answered(text, -1.0, False)] * wrong


def test_a_kind_with_too_few_answers_is_left_as_it_is():
    reports = report_kinds([*answers(90, 10), *answers(20, 10, "yes")])
    assert reports["text"].temperature is not None
    assert reports["closed"].temperature is None
    assert reports["closed"].error_before == reports["closed"].error_after


@pytest.mark.parametrize("found", [answers(40, 9), answers(96, 4), answers(4, 96)])
def test_too_few_for_any_kind_say_how_many_are_needed(found):
    with pytest.raises(InputError, match="at least 50 answers of a kind, 5 of them right and 5"):
        report_kinds(found)


def test_questions_without_an_answer_are_named():
    asked = [CalibrationQuestion(IMAGE, "?", answer="7"), CalibrationQuestion(IMAGE, "?")]
    with pytest.raises(InputError, match=r'question 2 has no answer .* add "answer"'):
        ask_all(asked, awares_edge.scripted(["7", "7"]))


def test_a_model_is_asked_as_it_is_deployed_and_its_raw_probability_kept():
    model = awares_edge.scripted(["7", CALL, "8"])
    model.calibration = Calibration("", "", closed_temperature=5.0)
    asked = [CalibrationQuestion(IMAGE, "?", answer="7")] * 2
    first, second = ask_all(asked, model)
    assert (first.right, second.right) == (True, False)
    assert math.exp(first.log_probability) == pytest.approx(scripted_probability(1), rel=1e-6)


def test_the_kinds_temperature_is_applied():
    model = awares_edge.scripted(["yes", "word"])
    model.calibration = Calibration("", "", closed_temperature=4.0)
    closed, text = model.ask(IMAGE, "?"), model.ask(IMAGE, "?")
    assert closed.confidence == tempered(closed.log_probability, 4.0) < 0.95
    assert text.confidence == pytest.approx(math.exp(text.log_probability))


# Abstaining.


def unsure(*replies, least=1.0):
    return ask(*replies, policies=Policies(abstain_below=least))


def test_an_unsure_answer_is_withheld():
    answer = unsure("42")
    assert (answer.text, answer.withheld) == ("unsure", "42")
    [policy] = answer.policies
    assert policy.startswith("abstain:0.9")
    shown = answer.to_dict()
    assert (shown["answer"], shown["withheld"]) == ("unsure", "42")


def test_a_sure_answer_is_given():
    answer = unsure("42", least=0.5)
    assert (answer.text, answer.withheld, answer.policies) == ("42", None, ())
    assert "withheld" not in answer.to_dict()


def test_a_stream_shows_nothing_of_an_answer_that_is_withheld():
    with awares_edge.scripted([CALL, "4242"]).open(IMAGE) as picture:
        options = AskOptions(policies=Policies(abstain_below=1.0))
        events = list(picture.stream("?", options))
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["unsure"]
    assert events[-1].withheld == "4242"
    assert len(events) == 3  # the crops, the text, the answer


class _AfterSteps:
    """A `threading.Event` that is set once it has been looked at so often."""

    def __init__(self, steps):
        self.steps = steps

    def is_set(self):
        self.steps -= 1
        return self.steps < 0


@pytest.mark.parametrize(("least", "partial"), [(None, "4242"), (0.5, "")])
def test_what_an_interrupted_question_said_is_withheld_too(least, partial):
    policies = Policies(abstain_below=least)
    with pytest.raises(Cancelled) as caught:
        ask("4242", cancel=_AfterSteps(7), policies=policies)
    assert caught.value.partial == partial


def test_an_answer_grammar_cannot_be_kept_by_an_answer_that_is_withheld():
    grammar = yes_or_no(awares_edge.scripted())
    with pytest.raises(InputError, match="would break the answer grammar: leave abstain_below out"):
        AskOptions(grammar=grammar, policies=Policies(abstain_below=0.5))


def test_the_models_own_answer_stays_in_the_conversation():
    options = AskOptions(follow_up=True, policies=Policies(abstain_below=1.0))
    with awares_edge.scripted(["42", "43"]).open(IMAGE) as picture:
        picture.ask("What?", options)
        picture.ask("And?", options)
        assert "assistant\n42" in context_of(picture)


@pytest.mark.parametrize("least", [-0.1, 1.1, math.nan, "0.5", True])
def test_a_threshold_is_a_probability(least):
    with pytest.raises(InputError, match="abstain_below must be between 0 and 1"):
        Policies(abstain_below=least)
