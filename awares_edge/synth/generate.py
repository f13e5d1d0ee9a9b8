"""Samples by split and index: a sample depends on (split, seed, index) only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from awares_edge.synth.charts import chart
from awares_edge.synth.documents import document
from awares_edge.synth.sample import Sample
from awares_edge.synth.scenes import scene

Split = Literal["train", "validation", "test"]
SPLITS: dict[Split, int] = {"train": 1, "validation": 2, "test": 3}


def _gauges(rng: np.random.Generator, limit: int = 0) -> Sample:
    return chart(rng, limit, sideways=True, family="gauges")


def _products(rng: np.random.Generator, limit: int = 0) -> Sample:
    return scene(rng, limit, beside=True, family="products")


Maker = Callable[[np.random.Generator, int], Sample]

FAMILIES: dict[str, Maker] = {
    "scene": scene,
    "chart": chart,
    "document": document,
}
HELD_BACK: dict[str, Maker] = {
    "gauges": _gauges,
    "products": _products,
}


def generate(
    split: Split, seed: int, index: int, *, family: str | None = None, limit: int = 0
) -> Sample:
    """One sample of a split; ``family`` (held-back ones too) or, without it, one in turn.

    ``limit`` draws that many objects instead of the family's own number (an easier
    picture, for the beginning of training). The splits' random streams are disjoint by
    construction: the split is part of the seed.
    """
    rng = np.random.default_rng([SPLITS[split], seed, index])
    name = family or list(FAMILIES)[index % len(FAMILIES)]
    make = FAMILIES.get(name) or HELD_BACK[name]
    return make(rng, limit)
