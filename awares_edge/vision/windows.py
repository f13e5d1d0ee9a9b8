"""Attention windows and rotary tables of the vision tower, computed from a picture's grid.

Patches come in merge-block order (see `patches`). The tower works on them in window order, in which
the patches of one attention window are adjacent; windows at the right and bottom edges may be
smaller, so they are gathered into rows of equal length with padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from awares_edge.vision.geometry import Grid


@dataclass(frozen=True, slots=True)
class Windows:
    """Attention windows of one picture. P patches, T = P / merge**2 tokens, W windows of at most
    L patches.

    Attributes:
        token_order: int64 [T], the raster index of the token at each place of window order.
        token_place: int64 [T], its inverse: the place in window order of each raster token.
        patch_order: int64 [P], the same as `token_order` for patches in merge-block order.
        padded: int64 [W, L], for each place of each window its patch (in window order); 0 where
            the window is shorter.
        lengths: int32 [W], patches of each window.
        unpadded: int64 [P], for each patch in window order its place in the flattened `padded`.
    """

    token_order: NDArray[np.int64]
    token_place: NDArray[np.int64]
    patch_order: NDArray[np.int64]
    padded: NDArray[np.int64]
    lengths: NDArray[np.int32]
    unpadded: NDArray[np.int64]


def attention_windows(grid: Grid, *, window_size: int, patch_size: int) -> Windows:
    """Windows of a picture.

    Args:
        window_size: side of a window in pixels.
        patch_size: side of a patch in pixels.
    """
    side = window_size // grid.merge // patch_size
    unit = grid.merge**2
    row, column = np.divmod(np.arange(grid.tokens, dtype=np.int64), grid.columns)
    window = row // side * -(-grid.columns // side) + column // side
    token_order = np.argsort(window, kind="stable")
    token_place = np.empty_like(token_order)
    token_place[token_order] = np.arange(grid.tokens)
    patch_order = (token_order[:, None] * unit + np.arange(unit)).reshape(-1)

    lengths = np.bincount(window) * unit
    place = np.arange(side * side * unit)
    present = place < lengths[:, None]
    starts = np.cumsum(lengths) - lengths
    padded = np.where(present, starts[:, None] + place, 0)
    unpadded = np.flatnonzero(present)
    return Windows(
        token_order, token_place, patch_order, padded, lengths.astype(np.int32), unpadded
    )


def vision_rotary(
    grid: Grid, *, head_dim: int, theta: float = 10_000.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines of the vision tower's rotary embedding.

    Returns:
        two float32 [grid.patches, head_dim / 2], patches in merge-block order; the first half of
        the angles belongs to the row, the second to the column of a patch.
    """
    m = grid.merge
    row, column = np.divmod(np.arange(grid.patches, dtype=np.int64), grid.width)
    # Raster order to merge-block order.
    blocks = (grid.rows, m, grid.columns, m)
    row, column = (x.reshape(blocks).transpose(0, 2, 1, 3).reshape(-1) for x in (row, column))
    exponents = np.arange(0, head_dim // 2, 2, dtype=np.float32) / np.float32(head_dim // 2)
    frequencies = rotary_frequencies(exponents, theta)
    angles = np.concatenate([row[:, None] * frequencies, column[:, None] * frequencies], axis=1)
    angles = angles.astype(np.float32)
    return np.cos(angles), np.sin(angles)


def rotary_frequencies(exponents: NDArray[np.float32], theta: float) -> NDArray[np.float32]:
    """theta ** -exponents, rounded as torch rounds it (the power first, then its inverse)."""
    powers = np.power(np.float64(theta), exponents.astype(np.float64)).astype(np.float32)
    inverse: NDArray[np.float32] = np.float32(1) / powers
    return inverse
