"""Inputs of the vision graph that depend on a picture's grid alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.spec import VisionSpec
from awares_edge.vision.geometry import Grid
from awares_edge.vision.windows import attention_windows, vision_rotary


def vision_tables(grid: Grid, vision: VisionSpec) -> dict[str, NDArray[Any]]:
    """Everything but the pixels; see `awares_edge.export.tensorrt.vision` for shapes and dtypes."""
    windows = attention_windows(grid, window_size=vision.window_size, patch_size=vision.patch_size)
    cos, sin = vision_rotary(grid, head_dim=vision.hidden_size // vision.heads)
    count, length = windows.padded.shape
    seen = np.arange(length) < windows.lengths[:, None]
    return {
        "patch_order": windows.patch_order,
        "token_place": windows.token_place,
        "rotary_cos": np.ascontiguousarray(cos[windows.patch_order]),
        "rotary_sin": np.ascontiguousarray(sin[windows.patch_order]),
        "window_index": windows.padded,
        "window_mask": np.repeat(seen[:, None, None, :], length, axis=2).reshape(
            count, 1, length, length
        ),
        "window_places": windows.unpadded,
    }
