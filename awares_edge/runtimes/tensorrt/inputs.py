"""What the graphs of a TensorRT bundle take from the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.spec import VisionSpec
from awares_edge.vision.geometry import Grid
from awares_edge.vision.windows import attention_windows, vision_rotary


def text_inputs(
    embeds: NDArray[np.float32],
    positions: NDArray[np.int64],
    *,
    start: int,
    keep: int,
    cache_length: int,
) -> dict[str, NDArray[Any]]:
    """Inputs of one call of the text graph, the cache aside.

    Args:
        embeds: float32 [S, hidden].
        positions: int64 [3, S].
        start: the cell of the first token.
        keep: rows of logits wanted; the graph returns at least one, so 0 counts as 1.
    """
    count = embeds.shape[0]
    return {
        "inputs_embeds": embeds[None],
        "position_ids": positions[:, None],
        "logits_index": np.arange(count - max(1, keep), count, dtype=np.int64),
        "attention_mask": attention_mask(count, start, cache_length),
    }


def attention_mask(count: int, start: int, cache_length: int) -> NDArray[np.bool_]:
    """bool [1, 1, count, cache_length + count]: the cells in use, then the new tokens so far."""
    mask = np.zeros((1, 1, count, cache_length + count), dtype=np.bool_)
    mask[..., :start] = True
    mask[0, 0, :, cache_length:] = np.tri(count, dtype=np.bool_)
    return mask


def vision_inputs(grid: Grid, vision: VisionSpec) -> dict[str, NDArray[Any]]:
    """Inputs of the vision graph that depend only on a picture's grid: all but the pixels.

    See `awares_edge.export.tensorrt.vision` for shapes and dtypes.
    """
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
