"""Confidence intervals of measured shares."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt

_Z95 = 1.959964


def wilson(share: float, count: int) -> tuple[float, float]:
    """95% Wilson score interval of a share of ``count`` independent trials."""
    if count == 0:
        return 0.0, 1.0
    z2 = _Z95 * _Z95
    middle = share + z2 / (2 * count)
    half = _Z95 * sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    scale = 1 + z2 / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def of_mean(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the mean of independent values, by the normal approximation.

    A single value says nothing about the spread: its interval is infinite.
    """
    count = len(values)
    middle = sum(values) / count
    if count < 2:
        return -inf, inf
    spread = sum((value - middle) ** 2 for value in values) / (count - 1)
    half = _Z95 * sqrt(spread / count)
    return middle - half, middle + half


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test: that both are right equally often.

    Args:
        only_first, only_second: questions that only one of the two got right.
    """
    count = only_first + only_second
    fewer = min(only_first, only_second)
    ways = term = 1
    for k in range(1, fewer + 1):  # binomial coefficients, each from the one before
        term = term * (count - k + 1) // k
        ways += term
    return min(1.0, float(2 * ways / (1 << count)))
