"""Whether an answer is right."""

from __future__ import annotations


def normalise(text: str) -> str:
    """Case folded, white space collapsed."""
    return " ".join(text.casefold().split())


def is_right(answer: str, expected: str) -> bool:
    """Whether this is the expected answer, apart from case and white space."""
    return normalise(answer) == normalise(expected)
