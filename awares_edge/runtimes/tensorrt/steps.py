"""Host-side inputs of the text graph: how an append is cut into calls, and the mask of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens [start, stop) of an append, of which the last `keep` want logits (0: none do)."""

    start: int
    stop: int
    keep: int


def cut(count: int, keep: int, *, longest: int, kept: int) -> Iterator[Piece]:
    """Cut an append into calls that the engine's profile takes.

    Args:
        count: tokens to append.
        keep: for how many of the last ones logits are wanted.
        longest: most tokens of one call.
        kept: most rows of logits of one call.
    """
    first = count - keep
    start = 0
    while start < count:
        stop = min(start + longest, count)
        # Where more rows are wanted than one call gives, the call ends earlier.
        stop = min(stop, max(start, first) + kept)
        yield Piece(start, stop, max(0, stop - max(start, first)))
        start = stop


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
