"""Fixed-budget pruning of visual tokens: a baseline for what choosing crops saves.

Follows VisionZip (arXiv 2412.04467; github.com/dvlab-research/VisionZip): the tokens that receive
most attention in the vision encoder are kept, the others are merged into a few contextual tokens by
the similarity of their keys. Adapted to Qwen2.5-VL, whose tower has no class token and merges 2 x 2
patches into one token:

* attention received is the mean over all queries and heads of the last full-attention block, summed
  over a token's patches; keys are its mean over heads and patches, before the rotary embedding;
* tokens are chosen behind the merger, in raster order, and each keeps its own M-RoPE position; a
  contextual token has that of the token that the others are merged into;
* a contextual token is the mean of its group (the first release adds its mean to one of them).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from awares_edge.errors import InputError
from awares_edge.runtimes.segments import EncodedImage
from awares_edge.vision.geometry import Grid
from awares_edge.vision.windows import attention_windows

_CONTEXTUAL = 10 / 64
"""Share of contextual tokens among the kept ones: 54 + 10 of 64 in the paper."""
_QUERIES = 1024
"""Queries of one step; a large picture's attention does not fit in memory at once."""


@dataclass(frozen=True)
class _Seen:
    """What the tower computes for its merged tokens, in raster order.

    Attributes:
        attention: [tokens] attention received.
        keys: [tokens, head_dim] unit vectors.
    """

    attention: torch.Tensor
    keys: torch.Tensor


def check_share(share: float) -> float:
    """A share of tokens to keep.

    Raises:
        InputError: it is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InputError("the share of visual tokens to keep must be above 0 and at most 1")
    return share


def token_budget(share: float, tokens: int) -> tuple[int, int]:
    """(dominant, contextual) tokens that are kept of a picture's."""
    kept = max(1, min(tokens, round(share * tokens)))
    contextual = 0 if kept == tokens else round(kept * _CONTEXTUAL)
    return kept - contextual, contextual


def encode_pruned(visual: Any, pixels: torch.Tensor, grid: Grid, share: float) -> EncodedImage:
    """Run the vision tower and keep a share of its tokens.

    Args:
        visual: transformers' vision tower.
        pixels: [patches, values], on its device.
    """
    dominant, contextual = token_budget(share, grid.tokens)
    size = torch.tensor([[1, grid.height, grid.width]], device=pixels.device)
    if dominant == grid.tokens:
        return EncodedImage(visual(pixels, grid_thw=size).pooler_output, grid)
    features, seen = _watch(visual, pixels, size, grid)
    kept, features = prune(features, seen.attention, seen.keys, dominant, contextual)
    return EncodedImage(features, grid, kept)


def prune(
    features: torch.Tensor,
    attention: torch.Tensor,
    keys: torch.Tensor,
    dominant: int,
    contextual: int,
) -> tuple[NDArray[np.int64], torch.Tensor]:
    """Keep the dominant tokens and merge the others.

    Args:
        features: [tokens, hidden].
        attention: [tokens] attention received.
        keys: [tokens, head_dim] unit vectors.

    Returns:
        int64 [dominant + contextual] raster indices, ascending, and the features of these tokens.
    """
    chosen = attention.topk(dominant).indices.sort().values
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    left[chosen] = False
    rest = left.nonzero().flatten()
    indices, merged = chosen, features[chosen]
    if contextual:
        step = max(1, len(rest) // contextual)
        targets = rest[::step][:contextual]
        # A target is most similar to itself, so it stays in its own group.
        group = (keys[rest] @ keys[targets].T).argmax(1)
        group[torch.isin(rest, targets)] = torch.arange(contextual, device=rest.device)
        sums = features.new_zeros(contextual, features.shape[1]).index_add(0, group, features[rest])
        counts = torch.bincount(group, minlength=contextual)[:, None]
        indices = torch.cat([chosen, targets])
        merged = torch.cat([merged, sums / counts])
    order = indices.argsort()
    return indices[order].cpu().numpy(), merged[order]


def _watch(
    visual: Any, pixels: torch.Tensor, size: torch.Tensor, grid: Grid
) -> tuple[torch.Tensor, _Seen]:
    """The tower's output and what its last full-attention block saw."""
    attention = visual.blocks[max(visual.fullatt_block_indexes)].attn
    seen: list[_Seen] = []
    thread = threading.get_ident()

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == thread:  # other threads may use the same tower
            states = args[0] if args else kwargs["hidden_states"]
            seen.append(_seen(module, states, kwargs["position_embeddings"], grid, visual))

    hook = attention.register_forward_pre_hook(before, with_kwargs=True)
    try:
        features = visual(pixels, grid_thw=size).pooler_output
    finally:
        hook.remove()
    return features, seen[0]


def _seen(module: Any, states: torch.Tensor, rotary: Any, grid: Grid, visual: Any) -> _Seen:
    count = states.shape[0]
    query, key, _ = module.qkv(states).reshape(count, 3, module.num_heads, -1).unbind(1)
    content = key.float().mean(1)
    query, key = apply_rotary_pos_emb_vision(query, key, *rotary)
    query, key = query.float().transpose(0, 1), key.float().permute(1, 2, 0)
    received = torch.zeros(count, device=states.device)
    for part in query.split(_QUERIES, dim=1):
        received += torch.softmax(part @ key * module.scaling, dim=-1).mean(0).sum(0)
    windows = attention_windows(grid, window_size=visual.window_size, patch_size=visual.patch_size)
    place = torch.from_numpy(windows.token_place).to(states.device)
    keys = torch.nn.functional.normalize(content.reshape(grid.tokens, -1, content.shape[1]).mean(1))
    return _Seen((received / count).reshape(grid.tokens, -1).sum(1)[place], keys[place])
