"""A language stage (reading, policy): trains the text model on packed rows, vision frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from recipes.nano.batches import Batches, Mix
from recipes.nano.loop import Schedule
from recipes.nano.optim import MixedOptimizer, weights_to_bf16
from recipes.nano.outcomes import hard_questions, read_labels, write_labels
from recipes.nano.packed_model import ARRAYS, PackedModel
from recipes.nano.scores import Scores
from recipes.nano.views import Slots


@dataclass(frozen=True)
class LanguageConfig:
    """Settings of a language stage.

    Attributes:
        place: loss weight of the auxiliary head that predicts rows and columns.
        outcomes: before the first step, ask about large text in the stage's own pictures; learn to
            call where the answer is wrong at low resolution and right in full view.
    """

    name: str = "language"
    seed: int = 1
    place: float = 0.3
    outcomes: bool = False
    lr: float = 0.008
    adam_ratio: float = 0.15
    mix: Mix = field(default_factory=Mix)
    slots: Slots = field(default_factory=Slots)
    schedule: Schedule = field(default_factory=lambda: Schedule(3000))
    gates: Mapping[str, float] = field(default_factory=dict)


class LanguageStage:
    """Trains the text model; implements ``loop.Stage``."""

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        config: LanguageConfig,
        *,
        compiled: bool = True,
    ) -> None:
        self.config, self.schedule, self.gates = config, config.schedule, config.gates
        self.data = Batches("train", config.seed, config.slots, config.mix)
        self.module = PackedModel(model, config.slots, config.place)
        weights_to_bf16(self.module)
        self.optimizer = MixedOptimizer(
            [(n, p) for n, p in self.module.named_parameters() if p.requires_grad],
            lr=config.lr,
            adam_ratio=config.adam_ratio,
        )
        self._forward = torch.compile(self.module, dynamic=False) if compiled else self.module
        self._counts = Scores(self.data.packer.encode("GET_CROPS: ['0']")[0])
        self._sums, self._count = np.zeros(4), 0

    def label(
        self, path: Path, workers: int, progress: Callable[[int], None] = lambda _done: None
    ) -> None:
        """If ``outcomes`` is set, label the stage's pictures by the model's own answers.

        Labels are read from ``path`` if it exists, and otherwise made and written there.

        Raises:
            TrainingError: the file at ``path`` is not a labels file.
        """
        if not self.config.outcomes:
            return
        if not path.exists():
            device = next(self.module.parameters()).device
            hard = hard_questions(
                self._forward, self.data, self.schedule.steps, device, workers, progress
            )
            write_labels(path, hard)
        self.data.hard = read_labels(path)

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Loss of one batch of ``Batches``."""
        loss, seen, predicted = self._forward(**{k: batch[k] for k in ARRAYS})
        self._counts.add(batch, predicted.cpu().numpy())
        self._sums += [float(loss.detach()), *seen.tolist()]
        self._count += 1
        result: Tensor = loss
        return result

    def scores(self) -> dict[str, float]:
        """Mean losses, row and column accuracy, and ``Scores``, since the last call."""
        means = [round(float(x), 4) for x in self._sums / max(1, self._count)]
        self._sums, self._count = np.zeros(4), 0
        named = dict(zip(("loss", "language loss", "row", "column"), means, strict=True))
        return {**named, **self._counts.take()}
