"""The joint stage: vision, reading and policy together, over packed rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from awares_edge.training.nano.aux_targets import CLASSES, COLOUR_CLASSES, SHAPE_CLASSES, TARGETS
from awares_edge.training.nano.fast_text import FastText
from awares_edge.training.nano.fast_vision import FastVision, rms_norm
from awares_edge.training.nano.views import Slots


class Joint(nn.Module):
    """Loss and predictions of one batch of ``training.nano.batches``."""

    def __init__(
        self, model: Qwen2_5_VLForConditionalGeneration, slots: Slots, aux_weight: float
    ) -> None:
        super().__init__()
        self.vision = FastVision(model)
        self.text = FastText(model)
        self.aux = nn.Linear(192, TARGETS * CLASSES)
        self.aux_things = nn.Linear(192, COLOUR_CLASSES + SHAPE_CLASSES)
        self.slots, self.aux_weight = slots, aux_weight
        self.aux_place = nn.Linear(192, 16)
        self.aux_place_norm = nn.Parameter(torch.ones(192))
        self.place_weight = 0.0
        self.frozen = False

    def freeze_vision(self) -> None:
        """Train the language model alone: three times cheaper while it has yet to learn to look."""
        self.frozen = True
        for part in (self.vision, self.aux, self.aux_things):
            part.requires_grad_(False)

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
        aux: Tensor,
        things: Tensor,
        ids: Tensor,
        visual: Tensor,
        positions: Tensor,
        block: Tensor,
        places: Tensor,
        targets: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss; language loss, row, column, glyph accuracy [4]; predicted [len(places)]."""
        if self.frozen:
            with torch.no_grad():
                table = self.visual_table(windows, one, wide, tall)
        else:
            table = self.visual_table(windows, one, wide, tall)
        language, predicted, middle = self.language(
            table, ids, visual, positions, block, places, targets, weights
        )
        loss, glyph = language, torch.zeros((), device=ids.device)
        if not self.frozen:
            auxiliary, glyph = self.auxiliary(table, aux, things)
            loss = loss + self.aux_weight * auxiliary
        row = column = torch.zeros((), device=ids.device)
        if self.place_weight:
            place, row, column = self.place(middle, visual, positions)
            loss = loss + self.place_weight * place
        seen = (language.detach(), row, column, glyph)
        return loss, torch.stack([x.float() for x in seen]), predicted

    def auxiliary(self, table: Tensor, aux: Tensor, things: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of the glyph and thing heads; glyph accuracy."""
        s = self.slots
        dense = table[: 80 * s.pictures + 16 * s.pages]  # whole pictures, low-res views, pages
        glyphs = F.linear(dense, self.aux.weight, self.aux.bias).float().view(-1, CLASSES)
        wanted = aux.reshape(-1).long()
        full = wanted > 0
        share = torch.where(full, 1.0, 0.2)
        glyph_loss = (F.cross_entropy(glyphs, wanted, reduction="none") * share).sum() / share.sum()
        hit = ((glyphs.argmax(-1) == wanted) & full).sum() / full.sum()
        seen = self.aux_things(table[: 80 * s.pictures]).float()
        colours, shapes = seen[:, :COLOUR_CLASSES], seen[:, COLOUR_CLASSES:]
        there = torch.where(things[:, 0] > 0, 1.0, 0.1)
        thing_loss = F.cross_entropy(colours, things[:, 0].long(), reduction="none")
        thing_loss = thing_loss + F.cross_entropy(shapes, things[:, 1].long(), reduction="none")
        glyph_loss = glyph_loss + (thing_loss * there).sum() / there.sum()
        return glyph_loss, hit

    def language(
        self,
        table: Tensor,
        ids: Tensor,
        visual: Tensor,
        positions: Tensor,
        block: Tensor,
        places: Tensor,
        targets: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted loss of the supervised tokens, what was predicted for them, middle states."""
        states, middle = self.text(ids, visual, table, positions, block)
        hidden = states.flatten(0, 1)
        logits = F.linear(
            hidden.index_select(0, places), self.text.text.embed_tokens.weight
        ).float()
        losses = F.cross_entropy(logits, targets, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        return loss, logits.argmax(-1), middle

    def place(
        self, middle: Tensor, visual: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss and row and column accuracy of a throw-away head on the visual tokens.

        Values carry no position, so a call ("which crop?") is slow to learn without it.
        """
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
