"""Pictures to raw uint8 patches in the model's window order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def window_patches(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, 3], sides multiples of 112, to [windows, 64, 588] (channel, y, x), row-major windows.

    Inside a window the order is Qwen's: merged row, merged column, row, column.
    """
    high, wide = picture.shape[0] // 112, picture.shape[1] // 112
    x = picture.reshape(high, 4, 2, 14, wide, 4, 2, 14, 3)
    x = x.transpose(0, 4, 1, 5, 2, 6, 8, 3, 7)
    return np.ascontiguousarray(x).reshape(high * wide, 64, 588)
