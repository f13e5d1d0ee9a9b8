"""transformers' own `generate` on a loaded checkpoint: how the published code answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from awares_edge.runtimes.torch_reference import TorchRuntime
from awares_edge.vision.patches import Patches


class _Stream:
    """Calls back once a generated token."""

    def __init__(self, on_token: Callable[[], None]) -> None:
        self._on_token = on_token
        self._prompt = True

    def put(self, _: Any) -> None:
        if self._prompt:  # the first piece is the prompt
            self._prompt = False
        else:
            self._on_token()

    def end(self) -> None: ...


@torch.inference_mode()
def generate(
    runtime: TorchRuntime,
    parts: Sequence[tuple[int, ...] | Patches],
    count: int,
    on_token: Callable[[], None],
) -> None:
    """Compute a whole conversation from scratch and generate exactly `count` tokens, greedily.

    Args:
        parts: runs of token ids and pictures, in order.
        on_token: called after each generated token.
    """
    model, device = runtime.model, runtime.device
    pad = model.config.image_token_id
    tokens: list[int] = []
    for part in parts:
        tokens += part if isinstance(part, tuple) else [pad] * part.grid.tokens
    images = [part for part in parts if not isinstance(part, tuple)]
    input_ids = torch.tensor([tokens], device=device)
    pixels = torch.from_numpy(np.concatenate([image.pixels for image in images]))
    model.generate(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        mm_token_type_ids=(input_ids == pad).int(),
        pixel_values=pixels.to(device, model.model.visual.dtype),
        image_grid_thw=torch.tensor(
            [[1, image.grid.height, image.grid.width] for image in images], device=device
        ),
        max_new_tokens=count,
        min_new_tokens=count,
        do_sample=False,
        streamer=_Stream(on_token),
    )
