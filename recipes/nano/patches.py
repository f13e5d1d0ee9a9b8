"""Raw uint8 patches of pictures, and their order in the vision tower."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW = 112
"""Side of an attention window in pixels: 8 x 8 patches, 4 x 4 merged cells."""


def window_patches(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Patches [windows, 64, 588] of a picture [H, W, 3] whose sides are multiples of 112.

    Windows are row-major. Inside a window the order is Qwen's: merged row, merged column, row,
    column; inside a patch it is channel, y, x.
    """
    high, wide = picture.shape[0] // WINDOW, picture.shape[1] // WINDOW
    x = picture.reshape(high, 4, 2, 14, wide, 4, 2, 14, 3)
    x = x.transpose(0, 4, 1, 5, 2, 6, 8, 3, 7)
    return np.ascontiguousarray(x).reshape(high * wide, 64, 588)


def window_order(rows: int, columns: int) -> NDArray[np.int64]:
    """Index in window order of each row-major merged cell of a rows x columns grid of windows."""
    r, c = np.divmod(np.arange(rows * columns * 16), columns * 4)
    order: NDArray[np.int64] = ((r // 4) * columns + c // 4) * 16 + (r % 4) * 4 + c % 4
    return order
