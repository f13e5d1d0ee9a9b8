"""Rows of the rotary tables from M-RoPE positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.spec import ModelSpec
from awares_edge.vision.windows import rotary_frequencies


class TextRotary:
    """Cosines and sines of a text model's M-RoPE.

    Each of the head_dim / 2 frequencies turns with one of the three position axes (t, h, w), in
    consecutive sections.
    """

    def __init__(self, spec: ModelSpec) -> None:
        dim = np.float32(spec.head_dim)
        exponents = np.arange(0, spec.head_dim, 2, dtype=np.float32) / dim
        self._frequencies = rotary_frequencies(exponents, spec.rope_theta)
        self._axes = np.repeat(np.arange(3), spec.mrope_section)

    def fill(self, cos: NDArray[Any], sin: NDArray[Any], positions: NDArray[np.int64]) -> None:
        """Write the rows [n, head_dim / 2] of tokens at int64 [3, n] positions."""
        angles = positions[self._axes].T.astype(np.float32) * self._frequencies
        cos[...] = np.cos(angles)
        sin[...] = np.sin(angles)
