"""When an answer is right."""

from __future__ import annotations

import pytest

from awares_edge.evaluation.answers import is_right


@pytest.mark.parametrize("answer", ["A12 B34", " a12  b34\n", "A12\tb34"])
def test_case_and_white_space_do_not_count(answer: str) -> None:
    assert is_right(answer, "A12 B34")
    assert is_right("A12 B34", answer)


@pytest.mark.parametrize("answer", ["", "A12", "A12B34", "A12, B34", "A12 B34."])
def test_everything_else_does(answer: str) -> None:
    assert not is_right(answer, "A12 B34")
