"""Scores and prompts equal lmms-eval's, for hand-written and for random text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awares_edge.evaluation.benchmarks import BENCHMARKS, get_benchmark
from awares_edge.evaluation.scorers import anls
from tests.support import lmms_eval

QUESTION = (
    "Which way?\nA. Left\nB. Right\nC. Straight ahead\n"
    "Please answer directly with only the letter of the correct option and nothing else."
)
FACTS = {"type": "human_test", "dataset": "IIIT5K", "question_type": "x", "question": QUESTION}
FORMULA = {**FACTS, "dataset": "HME100k"}

CASES = [
    ("chartqa", "50%", "0.5", {"0.7.2": 1}),
    ("chartqa", "44.2", "42", {"0.7.2": 0}),
    ("chartqa", "44.0", "42", {"0.7.2": 1}),
    ("chartqa", "1990", "2010", {"0.7.2": 1}),
    ("chartqa", "1,234", "1234", {"0.7.2": 0}),
    ("chartqa", "Yes.", "yes", {"0.7.2": 0}),
    ("chartqa", "0", "0", {"0.7.2": 1}),
    ("docvqa", "jet star", "jetstar", {"0.7.2": 0.875}),
    ("docvqa", "jet", "jetstar", {"0.7.2": 0}),
    ("ocrbench", "It says CENTRE.", "centre", {"0.7.2": 1, "0.6.1": 1}),
    ("ocrbench", "abc", "ＡＢＣ", {"0.7.2": 1, "0.6.1": 0}),
    ("pope", "YES ", "yes", {"0.7.2": 1}),
    ("pope", "yes.", "yes", {"0.7.2": 0}),
    ("realworldqa", "The answer is B", "B", {"0.7.2": 1, "0.6.1": 0}),
    ("realworldqa", "Straight ahead", "C", {"0.7.2": 0, "0.6.1": 1}),
    ("realworldqa", "three", "3", {"0.7.2": 0, "0.6.1": 1}),
    ("vstar", "(b)", "B", {"0.7.2": 1}),
    ("vstar", "Answer: D", "D", {"0.7.2": 0}),
]


@pytest.mark.parametrize(("name", "prediction", "reference", "scores"), CASES)
def test_known_cases(name, prediction, reference, scores):
    for scorer, expected in scores.items():
        assert get_benchmark(name).score(prediction, [reference], FACTS, scorer) == expected


def test_a_formula_keeps_its_case_since_0_7():
    benchmark = get_benchmark("ocrbench")
    assert benchmark.score("X^{2}", ["x ^ { 2 }"], FORMULA, "0.6.1") == 1
    assert benchmark.score("X^{2}", ["x ^ { 2 }"], FORMULA, "0.7.2") == 0
    assert benchmark.score("X^{2}", ["X ^ { 2 }"], FORMULA, "0.6.1") == 0


def test_anls_takes_the_best_reference():
    assert anls("abcd", ["zzzz", "abcx"]) == 0.75
    assert anls("", [""]) == 1.0


WORDS = [
    *("A", "B", "C", "D", "E", "a", "b", "c", "d", "(A)", "B.", "C:", "D)", "THE CHOICE", ","),
    *("the answer is", "Answer", "option is", "Left", "Right", "Straight ahead", "yes", "No"),
    *(
        "three",
        "3",
        "3.0",
        "50%",
        "%",
        "-",
        "1e3",
        "inf",
        "nan",
        "１２",
        "ＡＢ",
        "\u3000",
        "İ",
        "ß",
    ),
    *("x ^ { 2 }", "X^{2}", "정답은", "选"),
]
words = st.sampled_from(WORDS)
texts = st.one_of(
    st.lists(words, max_size=5).map(" ".join),
    st.lists(words, max_size=4).map("".join),
    st.text(max_size=12),
).map(str.strip)
questions = st.lists(
    st.one_of(st.sampled_from(["A. Left", "B. Right", "C. Left", "A.", "x B. 3\t"]), texts),
    max_size=5,
).map("\n".join)


@pytest.mark.parametrize(
    ("name", "scorer"), [*((name, "0.7.2") for name in BENCHMARKS), ("realworldqa", "0.6.1")]
)
def test_scores_equal_lmms_evals(name, scorer):
    theirs = lmms_eval.scorers()[name, scorer]
    letters = st.sampled_from(["A", "B", "c", "D "])
    answers = {
        "pope": st.sampled_from(["yes", "No"]),
        "vstar": letters,
        "realworldqa": st.one_of(letters, texts),
    }.get(name, texts)

    @settings(max_examples=300)
    @given(
        texts,
        st.lists(answers, min_size=1, max_size=3),
        questions,
        st.sampled_from(["IIIT5K", "HME100k"]),
    )
    def check(prediction, references, question, dataset):
        facts = {**FACTS, "question": question, "dataset": dataset}
        ours = get_benchmark(name).score(prediction, references, facts, scorer)
        assert ours == theirs(prediction, references, facts)

    check()


QUESTIONS = [
    *(" How many bars? ", "Is there a dog?\n", "What colour?  (A) red (B) dark blue"),
    *("Where? (A) left\n(B) right (C) up (D) down (A) again", "(A)", QUESTION),
]


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_prompts_equal_lmms_evals(name, question):
    row = {
        **{"question": question, "text": question, "image": {"bytes": b"x"}, "answer": "yes"},
        **{"answers": ["yes"], "type": "human_test", "dataset": "d", "question_type": "t"},
        **{"label": "A", "category": "c"},
    }
    assert get_benchmark(name).question(row, 0).prompt == lmms_eval.prompts()[name](row)
