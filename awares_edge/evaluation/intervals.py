"""Confidence intervals of measured shares."""

from __future__ import annotations

from math import sqrt

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
