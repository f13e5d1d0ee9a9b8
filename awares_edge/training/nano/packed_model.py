"""Loss of a batch of packed rows: the text model learns, the vision tower is frozen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from awares_edge.training.nano.fast_text import FastText
from awares_edge.training.nano.fast_vision import FastVision, rms_norm
from awares_edge.training.nano.views import Slots

ARRAYS = (
    "windows", "one", "wide", "tall", "ids", "visual", "positions", "block", "places", "targets",
    "weights",
)  # fmt: skip
"""What ``PackedModel`` takes of a batch."""


class PackedModel(nn.Module):
    """Loss and predictions of one batch of ``training.nano.batches``.

    ``place_weight`` is that of a throw-away head, which tells each visual token's row and column
    from the states after the second layer: values carry no position, so a call ("which crop?") is
    slow to learn without it.
    """

    def __init__(
        self, model: Qwen2_5_VLForConditionalGeneration, slots: Slots, place_weight: float = 0.3
    ) -> None:
        super().__init__()
        self.vision = FastVision(model)
        self.vision.requires_grad_(False)
        self.text = FastText(model)
        self.slots, self.place_weight = slots, place_weight
        width = model.config.text_config.hidden_size
        self.aux_place = nn.Linear(width, 16)
        self.aux_place_norm = nn.Parameter(torch.ones(width))

    @torch.no_grad()
    def visual_table(self, windows: Tensor, one: Tensor, wide: Tensor, tall: Tensor) -> Tensor:
        """uint8 windows [W, 64, 588] and view indices to the flat token table [T, width]."""
        s = self.slots
        x = self.vision.windows(windows)
        width = x.shape[-1]
        flat = x.flatten(1)
        views = [
            self.vision.finish(x[: 4 * s.pictures].reshape(s.pictures, 256, width), "four"),
            self.vision.finish(flat.index_select(0, one).view(-1, 64, width), "one"),
        ]
        for shape, index in (("wide", wide), ("tall", tall)):
            picked = flat.index_select(0, index.reshape(-1)).view(-1, 128, width)
            views.append(self.vision.finish(picked, shape))
        return torch.cat([v.flatten(0, 1) for v in views])

    def forward(
        self,
        windows: Tensor,
        one: Tensor,
        wide: Tensor,
        tall: Tensor,
        ids: Tensor,
        visual: Tensor,
        positions: Tensor,
        block: Tensor,
        places: Tensor,
        targets: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss; language loss, row and column accuracy [3]; predicted tokens [len(places)].

        The language loss is the weighted mean over supervised tokens.
        """
        table = self.visual_table(windows, one, wide, tall)
        states, middle = self.text(ids, visual, table, positions, block)
        hidden = states.flatten(0, 1).index_select(0, places)
        logits = F.linear(hidden, self.text.text.embed_tokens.weight).float()
        losses = F.cross_entropy(logits, targets, reduction="none")
        language = (losses * weights).sum() / weights.sum()
        place, row, column = self.place(middle, visual, positions)
        seen = torch.stack([language.detach(), row, column])
        return language + self.place_weight * place, seen, logits.argmax(-1)

    def place(
        self, middle: Tensor, visual: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, row accuracy and column accuracy of the throw-away head."""
        seen = (visual >= 0).float()
        told = self.aux_place(rms_norm(middle, self.aux_place_norm)).float()
        wanted = (positions[1:] - positions[:1]).clamp(0, 7)
        share = seen.flatten() / seen.sum()
        total, right = torch.zeros((), device=told.device), []
        for axis, logits in enumerate((told[..., :8], told[..., 8:])):
            flat, target = logits.flatten(0, 1), wanted[axis].flatten()
            total = total + (F.cross_entropy(flat, target, reduction="none") * share).sum()
            right.append(((flat.argmax(-1) == target) * share).sum())
        return total, right[0], right[1]
