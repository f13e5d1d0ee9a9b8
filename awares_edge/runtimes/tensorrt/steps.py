"""Host-side inputs of the text graph, and the mask of each call."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


def text_inputs(
    embeds: NDArray[np.float32],
    positions: NDArray[np.int64],
    *,
    form: Literal["trt-kv", "trt-legacy"],
    start: int,
    keep: int,
    cache_length: int,
) -> dict[str, NDArray[Any]]:
    """Inputs of one call, the cache aside.

    Args:
        embeds: float32 [S, hidden].
        positions: int64 [3, S].
        start: the cell that the first token goes to.
        keep: rows of logits wanted; a graph gives one at least, so 0 is taken as 1.
    """
    count = embeds.shape[0]
    inputs: dict[str, NDArray[Any]] = {
        "inputs_embeds": embeds[None],
        "position_ids": positions[:, None],
        "logits_index": np.arange(count - max(1, keep), count, dtype=np.int64),
    }
    if form == "trt-kv":
        inputs["write_indices"] = np.array([start], dtype=np.int64)
        inputs["attention_mask"] = static_mask(count, start, cache_length)
    else:
        inputs["attention_mask"] = appended_mask(count, start, cache_length)
    return inputs


def static_mask(count: int, start: int, cache_length: int) -> NDArray[np.bool_]:
    """bool [1, 1, count, cache_length]: token i sees cells up to its own, start + i."""
    cells = np.arange(cache_length)
    own = np.arange(start, start + count)
    mask: NDArray[np.bool_] = cells[None, :] <= own[:, None]
    return mask[None, None]


def appended_mask(count: int, start: int, cache_length: int) -> NDArray[np.bool_]:
    """bool [1, 1, count, cache_length + count]: the cells in use, then the new tokens so far."""
    mask = np.zeros((1, 1, count, cache_length + count), dtype=np.bool_)
    mask[..., :start] = True
    mask[0, 0, :, cache_length:] = np.tri(count, dtype=np.bool_)
    return mask
