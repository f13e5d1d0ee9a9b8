"""The recipe as data: its stages in order, with their schedules, mixes and gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from recipes.nano.batches import Mix
from recipes.nano.language_stage import LanguageConfig
from recipes.nano.loop import Schedule
from recipes.nano.views import Slots
from recipes.nano.vision_stage import VisionConfig

StageConfig: TypeAlias = VisionConfig | LanguageConfig

_SLOTS = Slots(pictures=12, crops=28, wide=6, tall=5)
_READING = Mix(
    two_turn=0.5, read_all=1.0, drills=4, easy_start=0.9, easy_steps=1200, easy_floor=0.05
)
_POLICY = Mix(two_turn=0.85, full_rows=0.4, read_all=0.15, drills=1)

RECIPE: tuple[StageConfig, ...] = (
    VisionConfig(
        "vision", seed=1, schedule=Schedule(7000, 30, 1800), gates={"glyph": 0.96, "thing": 0.99}
    ),
    LanguageConfig(
        "reading",
        seed=2,
        mix=_READING,
        slots=_SLOTS,
        lr=0.01,
        schedule=Schedule(1800, cooldown=300),
        gates={"match": 0.90, "full presence": 0.90, "row": 0.95, "column": 0.95},
    ),
    LanguageConfig(
        "policy",
        seed=3,
        mix=_POLICY,
        slots=_SLOTS,
        schedule=Schedule(7000, cooldown=3000),
        gates={"call": 0.96, "held": 0.98, "full small": 0.95, "crop": 0.95},
    ),
)
"""From random weights to the checkpoint. A gate is the least mean score over a stage's last log
lines; every score is measured before the model trains on the batch."""

READER = LanguageConfig(
    "reader",
    seed=5,
    mix=replace(_POLICY, policy=False, full_rows=1.0),
    slots=_SLOTS,
    lr=0.005,
    schedule=Schedule(400, cooldown=350),
)
"""Unlearns the call: reads well and answers everything at once. Start of the ablation ladder."""

DOCUMENTS = LanguageConfig(
    "documents",
    seed=61,
    mix=replace(_POLICY, documents=0.5, read_all=0.6, low=(0.25, 0.5, 0.25)),
    slots=_SLOTS,
    lr=0.006,
    schedule=Schedule(3000, cooldown=2800),
)
"""More forms at low resolution, read out in full. Average the result with its start."""

OUTCOMES = LanguageConfig(
    "outcomes",
    seed=71,
    outcomes=True,
    mix=replace(_POLICY, documents=0.2, low=(0.35, 0.45, 0.2)),
    slots=_SLOTS,
    lr=0.002,
    schedule=Schedule(500, cooldown=480),
)
"""Learns to call for large text that its start cannot read. Average the result with its start."""

BOXES = LanguageConfig(
    "boxes",
    seed=81,
    mix=replace(_POLICY, boxes=True, full_rows=0.3, read_all=0.1, low=(0.5, 0.3, 0.2), targets=80),
    slots=replace(_SLOTS, crops=24, wide=3, tall=3, whole=5),
    lr=0.006,
    schedule=Schedule(1000, cooldown=940),
)
"""Learns to call for one box instead of crops of the fixed set (`boxes.PROFILE`)."""

EXTRA = (READER, DOCUMENTS, OUTCOMES, BOXES)
"""Stages that run only when named, from a checkpoint."""


def smoke_sized(recipe: Sequence[StageConfig]) -> tuple[StageConfig, ...]:
    """The same stages, short enough for one CPU core and a minute, without gates."""
    small = Slots(pictures=2, crops=6, wide=1, tall=1)
    out: list[StageConfig] = []
    for stage in recipe:
        if isinstance(stage, VisionConfig):
            out.append(replace(stage, ramp=40, schedule=Schedule(20, 2, 4), gates={}))
        else:
            # Every stage sees both easy and ordinary pictures.
            mix = replace(stage.mix, easy_start=0.9, easy_steps=8)
            short = replace(stage, mix=mix, slots=small, schedule=Schedule(8, 2, 4), gates={})
            out.append(short)
    return tuple(out)
