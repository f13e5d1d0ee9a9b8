"""Samples are deterministic, their evidence is known, and one family is held back."""

from __future__ import annotations

import numpy as np
import pytest

from awares_edge.synth import FAMILIES, HELD_BACK, SIDE, generate, is_sufficient, smallest_crops
from awares_edge.synth.oracle import CHOICES, is_clear, slack
from awares_edge.training.crop_rules import crops_for

EVERY = [*FAMILIES, *HELD_BACK]


@pytest.mark.parametrize("family", EVERY)
def test_a_sample_is_a_function_of_split_seed_and_index(family: str) -> None:
    one, two = (generate("train", 3, 14, family=family) for _ in range(2))
    assert np.array_equal(one.picture, two.picture)
    assert one.questions == two.questions
    other = generate("test", 3, 14, family=family)
    assert not np.array_equal(one.picture, other.picture)


def test_held_back_families_are_never_drawn_without_being_named() -> None:
    drawn = {generate("train", 0, i).family for i in range(30)}
    assert drawn == set(FAMILIES)
    assert not drawn & set(HELD_BACK)


@pytest.mark.parametrize("family", EVERY)
def test_questions_are_well_formed(family: str) -> None:
    for i in range(40):
        sample = generate("validation", 1, i, family=family)
        assert sample.picture.shape == (SIDE, SIDE, 3)
        assert sample.picture.dtype == np.uint8
        assert len(sample.questions) >= 4
        assert len({q.text for q in sample.questions}) >= len(sample.questions) - 1
        for q in sample.questions:
            assert q.text.endswith("?")
            assert q.answer
            for x0, y0, x1, y1 in q.evidence:
                assert 0 <= x0 < x1 <= SIDE
                assert 0 <= y0 < y1 <= SIDE


def test_the_same_wording_is_asked_of_small_and_of_large_text() -> None:
    sizes: dict[str, set[str]] = {}
    for i in range(200):
        for q in generate("train", 2, i).questions:
            if q.size != "none":
                sizes.setdefault(q.kind, set()).add(q.size)
    for kind in ("label", "value", "title", "field"):
        assert sizes[kind] == {"small", "large"}


def test_presence_questions_are_balanced() -> None:
    answers = [
        q.answer
        for i in range(400)
        for q in generate("train", 5, i).questions
        if q.kind == "presence"
    ]
    assert 0.4 < answers.count("yes") / len(answers) < 0.6


def test_small_evidence_lies_in_its_smallest_crops_and_in_no_smaller_choice() -> None:
    seen = set()
    for i in range(200):
        for q in generate("train", 4, i).questions:
            if q.size != "small" or not is_clear(q.evidence):
                continue
            crops = smallest_crops(q.evidence)
            seen.add(crops)
            assert is_sufficient(q.evidence, crops)
            for smaller in CHOICES[: CHOICES.index(crops)]:
                assert not is_sufficient(q.evidence, smaller)
    assert {("0",), ("4",), ("5",), ("6",), ("all",)} <= seen


def test_oracle_by_hand() -> None:
    assert smallest_crops([(4, 4, 40, 40)]) == ("0",)
    assert smallest_crops([(90, 90, 130, 130)]) == ("4",)
    assert smallest_crops([(90, 4, 130, 20)]) == ("5",)
    assert smallest_crops([(4, 100, 20, 130)]) == ("7",)
    assert smallest_crops([(4, 4, 20, 20), (200, 200, 220, 220)]) == ("0", "3")
    assert smallest_crops([(4, 4, 220, 220)]) == ("all",)
    assert slack((4, 4, 40, 40), "0") == 72
    assert slack((100, 4, 120, 40), "0") == -8


@pytest.mark.parametrize("family", EVERY)
def test_the_rule_for_loose_boxes_chooses_alike_where_nothing_may_be_cut_off(family: str) -> None:
    for i in range(40):
        for q in generate("train", 6, i, family=family).questions:
            if q.evidence:
                crops = crops_for(q.evidence, (SIDE, SIDE), threshold=1.0)
                assert crops == smallest_crops(q.evidence)
