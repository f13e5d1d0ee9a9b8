"""Loss of a batch of packed rows; the vision tower is frozen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from recipes.nano.fast_text import FastText
from recipes.nano.fast_vision import FastVision, rms_norm
from recipes.nano.views import Slots

ARRAYS = (
    "windows", "inside", "ids", "visual", "positions", "block", "places", "targets", "weights",
)  # fmt: skip
"""The entries of a batch that ``PackedModel`` takes."""


class PackedModel(nn.Module):
    """Loss and predictions of one batch of ``batches.Batches``.

    ``place_weight`` is the loss weight of an auxiliary head that predicts each visual token's row
    and column from the states after the second layer. Attention values carry no position, so
    without it the model is slow to learn which crop to call.
    """

    def __init__(
        self, model: Qwen2_5_VLForConditionalGeneration, slots: Slots, place_weight: float = 0.3
    ) -> None:
        super().__init__()
        self.vision = FastVision(model)
        self.vision.requires_grad_(False)
        self.text = FastText(model)
        self.groups, self.place_weight = list(slots.groups().values()), place_weight
        width = model.config.text_config.hidden_size
        self.aux_place = nn.Linear(width, 16)
        self.aux_place_norm = nn.Parameter(torch.ones(width))

    @torch.no_grad()
    def visual_table(self, windows: Tensor, inside: Tensor) -> Tensor:
        """The batch's visual tokens [T, width], from uint8 windows [W, 64, 588].

        ``inside`` (bool [W, 64]) says which patches belong to a view.
        """
        x = self.vision.windows(windows, inside)
        views = []
        for group in self.groups:
            own = slice(group.start, group.stop)
            views.append(self.vision.finish(x[own], group.rows, group.columns, inside[own]))
        return torch.cat([v.flatten(0, 1) for v in views])

    def forward(
        self,
        windows: Tensor,
        inside: Tensor,
        ids: Tensor,
        visual: Tensor,
        positions: Tensor,
        block: Tensor,
        places: Tensor,
        targets: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss; (language loss, row accuracy, column accuracy) [3]; predicted tokens [len(places)].

        The language loss is the weighted mean over supervised tokens.
        """
        table = self.visual_table(windows, inside)
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
        """Loss, row accuracy and column accuracy of the auxiliary head."""
        seen = (visual >= 0).float()
        predicted = self.aux_place(rms_norm(middle, self.aux_place_norm)).float()
        wanted = (positions[1:] - positions[:1]).clamp(0, 7)
        share = seen.flatten() / seen.sum()
        total, right = torch.zeros((), device=predicted.device), []
        for axis, logits in enumerate((predicted[..., :8], predicted[..., 8:])):
            flat, target = logits.flatten(0, 1), wanted[axis].flatten()
            total = total + (F.cross_entropy(flat, target, reduction="none") * share).sum()
            right.append(((flat.argmax(-1) == target) * share).sum())
        return total, right[0], right[1]
