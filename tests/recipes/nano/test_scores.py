"""Scores against values worked out by hand: every gate relies on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from recipes.nano.scores import Scores  # noqa: E402

CALL = 99


def batch(units: list[tuple[str, int, int]], spans: dict[int, int]) -> dict[str, Any]:
    """A batch whose supervised positions and target tokens are ``spans``, padded as batches are."""
    empty = 3
    return {
        "places": torch.tensor([*spans, *[0] * empty]),
        "targets": torch.tensor([*spans.values(), *[0] * empty]),
        "weights": torch.tensor([0.3] * len(spans) + [0.0] * empty),
        "units": units,
    }


def scored(units: list[tuple[str, int, int]], spans: dict[int, int], says: list[int]) -> Any:
    scores = Scores(CALL)
    scores.add(batch(units, spans), np.array([*says, 0, 0, 0]))
    return scores.take()


def test_a_unit_is_right_if_all_its_tokens_are() -> None:
    spans = {4: 11, 5: 12, 6: 13, 20: 21, 21: 22}
    units = [("match", 4, 7), ("match", 20, 22)]
    assert scored(units, spans, [11, 12, 13, 21, 22]) == {"match": 1.0}
    assert scored(units, spans, [11, 0, 13, 21, 22]) == {"match": 0.5}
    assert scored(units, spans, [11, 12, 0, 0, 22]) == {"match": 0.0}


@pytest.mark.parametrize("kind", ["full small", "full large", "crop"])
def test_characters_count_one_by_one_and_the_end_is_none(kind: str) -> None:
    spans = {4: 11, 5: 12, 6: 13, 7: 1}
    assert scored([(kind, 4, 8)], spans, [11, 0, 13, 1]) == {kind: 0.0, f"{kind} chars": 0.6667}
    assert scored([(kind, 4, 8)], spans, [11, 12, 13, 0]) == {kind: 0.0, f"{kind} chars": 1.0}
    assert scored([(kind, 4, 8)], spans, [11, 12, 13, 1]) == {kind: 1.0, f"{kind} chars": 1.0}


def test_called_is_the_call_s_first_token_alone() -> None:
    spans = {4: CALL, 5: 31, 6: 1}
    assert scored([("call", 4, 7)], spans, [CALL, 30, 1]) == {"call": 0.0, "called": 1.0}
    assert scored([("call", 4, 7)], spans, [12, 31, 1]) == {"call": 0.0, "called": 0.0}
    # In a locating exercise the call is asked for, so it is not a decision.
    assert scored([("locate", 4, 7)], spans, [CALL, 31, 1]) == {"locate": 1.0}


@pytest.mark.parametrize("kind", ["low none", "low large", "low presence"])
def test_held_is_a_low_answer_that_does_not_begin_with_a_call(kind: str) -> None:
    spans = {4: 11, 5: 1}
    assert scored([(kind, 4, 6)], spans, [11, 1]) == {kind: 1.0, "held": 1.0}
    assert scored([(kind, 4, 6)], spans, [12, 1]) == {kind: 0.0, "held": 1.0}
    assert scored([(kind, 4, 6)], spans, [CALL, 1]) == {kind: 0.0, "held": 0.0}
    assert scored([("full none", 4, 6)], spans, [CALL, 1]) == {"full none": 0.0}


def test_kinds_are_counted_apart_and_over_batches() -> None:
    scores = Scores(CALL)
    units = [("match", 2, 3), ("low none", 5, 6)]
    for says in ([7, 8], [7, CALL], [0, 8], [7, 9]):
        scores.add(batch(units, {2: 7, 5: 8}), np.array([*says, 0, 0, 0]))
    assert scores.take() == {"held": 0.75, "low none": 0.5, "match": 0.75}


def test_a_unit_cut_off_by_the_batch_s_places_is_left_out() -> None:
    """Positions over the limit are not predicted: such a unit is neither right nor wrong."""
    assert scored([("match", 4, 7), ("match", 20, 21)], {4: 11, 5: 12, 20: 21}, [11, 12, 21]) == {
        "match": 1.0
    }


def test_padding_is_not_scored() -> None:
    """Places are padded with 0, which is also a valid position."""
    assert scored([("match", 0, 1)], {4: 11}, [11]) == {}
    # The padding's prediction, also of place 0, does not overwrite the unit's.
    assert scored([("match", 0, 1)], {0: 11}, [11]) == {"match": 1.0}


def test_scores_start_again_after_they_are_taken() -> None:
    scores = Scores(CALL)
    assert scores.take() == {}
    scores.add(batch([], {4: 11}), np.array([11, 0, 0, 0]))
    assert scores.take() == {}
    scores.add(batch([("match", 4, 5)], {4: 11}), np.array([12, 0, 0, 0]))
    assert scores.take() == {"match": 0.0}
    assert scores.take() == {}
