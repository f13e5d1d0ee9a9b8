"""The vision stage: trains the tower on glyphs and objects, with heads that are dropped later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Qwen2_5_VLForConditionalGeneration

from awares_edge.protocol import get_profile
from awares_edge.synth.generate import generate
from awares_edge.synth.sample import SIDE
from recipes.nano.aux_targets import (
    CLASSES,
    COLOUR_CLASSES,
    SHAPE_CLASSES,
    TARGETS,
    glyph_targets,
    halved,
    thing_cells,
)
from recipes.nano.crowds import crowd
from recipes.nano.fast_vision import FastVision
from recipes.nano.loop import Schedule
from recipes.nano.optim import MixedOptimizer, weights_to_bf16
from recipes.nano.pages import glyph_page, reduced_page
from recipes.nano.patches import window_order, window_patches

SINGLES, FOURS, CROWDS = 24, 6, 3


class Pages(Dataset[tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.int16]]]):
    """Batch ``i`` depends only on (seed, i), so a resumed run sees the same data.

    The first SINGLES windows are glyph pages and low-res views, then come FOURS whole pictures of
    four windows each. While ``jitter`` is at most 0.5, all windows are glyph pages.
    """

    def __init__(self, seed: int, ramp: int) -> None:
        self.seed, self.ramp = seed, ramp

    def __len__(self) -> int:
        return 1 << 30

    def jitter(self, i: int) -> float:
        """Layout freedom of batch ``i``: 0 is grid-snapped, 1 is free."""
        return float(np.clip((i - self.ramp * 0.15) / self.ramp, 0.0, 1.0))

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.int16]]:
        """Windows [W, 64, 588], glyph targets [W, 16, TARGETS], object targets [W, 16, 2]."""
        rng = np.random.default_rng([self.seed, i])
        jitter = self.jitter(i)
        pictures = FOURS if jitter > 0.5 else 0
        windows: list[NDArray[np.uint8]] = []
        glyphs: list[NDArray[np.int16]] = []
        things = np.zeros((SINGLES + 4 * FOURS, 16, 2), np.int16)
        # Mostly full pictures: only there do two lines of text share a cell at low resolution.
        # Crowds ignore their limit.
        limits = [0 if rng.random() < 0.7 else int(rng.integers(1, 4)) for _ in range(pictures)]
        samples = [
            crowd(rng)
            if k < CROWDS
            else generate("train", self.seed + 1000, i * FOURS + k, limit=n)
            for k, n in enumerate(limits)
        ]
        for n in range(SINGLES - pictures + 4 * (FOURS - pictures)):
            make = reduced_page if n % 4 == 3 and jitter > 0 else glyph_page
            if n % 6 == 5 and pictures:
                page, drawn = glyph_page(rng, jitter, sizes=(20, 28))
            else:
                page, drawn = make(rng, jitter)
            windows.append(window_patches(page))
            glyphs.append(glyph_targets(drawn, 112, 112).reshape(1, 16, TARGETS))
        for k, sample in enumerate(samples):
            low = get_profile("nano").first_picture(Image.fromarray(sample.picture))
            windows.append(window_patches(np.asarray(low)))
            glyphs.append(glyph_targets(halved(sample.glyphs), 112, 112).reshape(1, 16, TARGETS))
            things[SINGLES - pictures + k] = thing_cells(sample.things, 56, SIDE).reshape(16, 2)
        order = np.argsort(window_order(2, 2))
        for k, sample in enumerate(samples):
            windows.append(window_patches(sample.picture))
            cells = glyph_targets(sample.glyphs, SIDE, SIDE).reshape(64, TARGETS)
            glyphs.append(cells[order].reshape(4, 16, TARGETS))
            found = thing_cells(sample.things, 28, SIDE).reshape(64, 2)
            things[SINGLES + 4 * k : SINGLES + 4 * k + 4] = found[order].reshape(4, 16, 2)
        return np.concatenate(windows), np.concatenate(glyphs), things


class VisionHeads(nn.Module):
    """Loss of the auxiliary heads over one batch of ``Pages``."""

    def __init__(self, vision: FastVision) -> None:
        super().__init__()
        self.vision = vision
        width = vision.tower.config.out_hidden_size
        self.aux = nn.Linear(width, TARGETS * CLASSES)
        self.aux_things = nn.Linear(width, COLOUR_CLASSES + SHAPE_CLASSES)

    def forward(
        self, patches: Tensor, glyphs: Tensor, things: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, glyph accuracy, share of objects whose colour and shape are both right."""
        x = self.vision.windows(patches)
        one = self.vision.finish(x[:SINGLES], 1, 1).flatten(0, 1)
        four = self.vision.finish(x[SINGLES:], 2, 2).flatten(0, 1)
        tokens = torch.cat([one, four])
        logits = F.linear(tokens, self.aux.weight, self.aux.bias).float().view(-1, CLASSES)
        target = glyphs.reshape(-1).long()
        full = target > 0
        weight = torch.where(full, 1.0, 0.3)
        loss = (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
        hit = ((logits.argmax(-1) == target) & full).sum() / full.sum()
        wanted = things.reshape(-1, 2).long()
        seen = F.linear(tokens, self.aux_things.weight, self.aux_things.bias).float()
        colours, shapes = seen[:, :COLOUR_CLASSES], seen[:, COLOUR_CLASSES:]
        there = wanted[:, 0] > 0
        share = torch.where(there, 1.0, 0.05)
        both = F.cross_entropy(colours, wanted[:, 0], reduction="none")
        both = both + F.cross_entropy(shapes, wanted[:, 1], reduction="none")
        loss = loss + 0.2 * (both * share).sum() / share.sum()
        named = (colours.argmax(-1) == wanted[:, 0]) & (shapes.argmax(-1) == wanted[:, 1])
        return loss, hit, (named & there).sum() / there.sum().clamp(min=1)


def whiten(vision: FastVision, patches: Tensor) -> None:
    """Initialise the patch embedding with the principal components of real patches."""
    weight = vision.tower.patch_embed.proj.weight
    width, channels, frames, *side = weight.shape
    pixels = (patches.float() * vision.scale + vision.shift).flatten(0, -2).double()
    values, vectors = torch.linalg.eigh(pixels.T @ pixels / len(pixels))
    top = vectors[:, -width:] / (values[-width:] + 1e-2).sqrt()
    # A still picture repeats over time: its frames share the weight equally.
    still = top.T.reshape(width, channels, 1, *side) / frames
    with torch.no_grad():
        weight.copy_(still.expand_as(weight).float())


@dataclass(frozen=True)
class VisionConfig:
    """Settings of a vision stage.

    Attributes:
        ramp: steps over which layout goes from grid-snapped to free.
        fresh: initialise the patch embedding, and begin with grid-snapped pages.
    """

    name: str = "vision"
    seed: int = 1
    ramp: int = 1200
    fresh: bool = True
    lr: float = 0.02
    schedule: Schedule = field(default_factory=lambda: Schedule(6000, 30, 1500))
    gates: Mapping[str, float] = field(default_factory=dict)


class VisionStage:
    """Trains ``model.model.visual``; implements ``loop.Stage``."""

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        config: VisionConfig,
        *,
        compiled: bool = True,
    ) -> None:
        self.schedule, self.gates = config.schedule, config.gates
        vision = FastVision(model)
        vision.requires_grad_(True)  # an earlier language stage may have frozen the tower
        # A trained tower does not need grid-snapped pages again.
        self.data = Pages(config.seed, config.ramp if config.fresh else 1)
        if config.fresh:
            some = [self.data[config.ramp * k][0] for k in (0, 1, 2)]
            whiten(vision, torch.from_numpy(np.concatenate(some)))
        self.module = VisionHeads(vision)
        nn.init.normal_(self.module.aux.weight, std=0.02)
        weights_to_bf16(self.module)
        self.optimizer = MixedOptimizer(list(self.module.named_parameters()), lr=config.lr)
        self._forward = torch.compile(self.module, dynamic=False) if compiled else self.module
        self._sums, self._count = np.zeros(3), 0

    def loss(self, batch: Any) -> Tensor:
        """Loss of one batch of ``Pages``."""
        loss, glyph, thing = self._forward(*batch)
        self._sums += [float(loss.detach()), float(glyph), float(thing)]
        self._count += 1
        result: Tensor = loss
        return result

    def scores(self) -> dict[str, float]:
        """Mean loss, glyph accuracy and object accuracy since the last call."""
        means = self._sums / max(1, self._count)
        self._sums, self._count = np.zeros(3), 0
        return dict(
            zip(("loss", "glyph", "thing"), (round(float(x), 4) for x in means), strict=True)
        )
