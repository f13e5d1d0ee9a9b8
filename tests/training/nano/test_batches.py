"""Which questions a packed row gets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given
from hypothesis import strategies as st

from awares_edge.synth.sample import Question
from awares_edge.training.nano.batches import mixed

SIZES = ("small", "large", "none")


def pool(sizes: list[str]) -> list[Question]:
    return [
        Question(f"question {i}", "answer", "kind", ((0, 0, 9, 9),), size)  # type: ignore[arg-type]
        for i, size in enumerate(sizes)
    ]


@given(st.lists(st.sampled_from(SIZES), max_size=12), st.integers(0, 14), st.integers(0, 2**32))
def test_questions_come_once_and_as_many_as_there_are(
    sizes: list[str], count: int, seed: int
) -> None:
    questions = pool(sizes)
    chosen = mixed(np.random.default_rng(seed), questions, count, (0.4, 0.3, 0.3))
    assert len(chosen) == min(count, len(questions))
    assert len({q.text for q in chosen}) == len(chosen)


def test_the_first_question_follows_the_weights() -> None:
    rng = np.random.default_rng(0)
    questions = pool(["small"] * 2 + ["large"] * 2 + ["none"] * 8)
    first = Counter(mixed(rng, questions, 1, (0.5, 0.3, 0.2))[0].size for _ in range(2000))
    for size, share in zip(SIZES, (0.5, 0.3, 0.2), strict=True):
        assert first[size] / 2000 == pytest.approx(share, abs=0.05)


def test_evidence_in_several_places_comes_first_in_half_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    several = Question("both", "answer", "two labels", ((0, 0, 9, 9), (99, 99, 108, 108)), "small")
    questions = [*pool(["small"] * 9), several]
    first = [mixed(rng, questions, 1, (1.0, 1.0, 1.0))[0].text == "both" for _ in range(2000)]
    # Half of the rows, and a tenth of the others by chance.
    assert np.mean(first) == pytest.approx(0.55, abs=0.04)
