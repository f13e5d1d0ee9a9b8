"""M-RoPE positions of text and images (Qwen2.5-VL, `get_rope_index`).

A position and a KV cell are two numbers: an image of r x c tokens takes r*c cells and advances the
position by max(r, c) only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from awares_edge.vision.geometry import Grid


def text_positions(start: int, count: int) -> NDArray[np.int64]:
    """[3, count] positions (t, h, w) of `count` text tokens from position `start`."""
    return np.tile(np.arange(start, start + count, dtype=np.int64), (3, 1))


def image_positions(start: int, grid: Grid) -> NDArray[np.int64]:
    """[3, grid.tokens] positions (t, h, w) of an image whose first token is at `start`."""
    rows, columns = np.divmod(np.arange(grid.tokens, dtype=np.int64), grid.columns)
    return start + np.stack([np.zeros_like(rows), rows, columns])


def image_advance(grid: Grid) -> int:
    """By how much an image advances the next position."""
    return max(grid.rows, grid.columns)
