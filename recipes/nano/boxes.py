"""The boxes that the `boxes` stage teaches: around a question's evidence, on a coarse grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from awares_edge.protocol.profiles import read_profile
from awares_edge.synth.canvas import union
from awares_edge.synth.sample import SIDE
from awares_edge.synth.text import Box

PROFILE = read_profile(Path(__file__).with_name("box.toml"))

VIEW = SIDE // 2
"""Side of the first view in pixels, in which boxes are written."""

STEP = 7
"""Edges of boxes are multiples of this: half a patch of the first view, a patch of the picture."""

SHORT = (28, 42, 56)
"""Sides, in pixels of the first view, of boxes that fit in one attention window when cut out. A
longer box spans the view, and its other side is 56 or 112, so that it fills whole windows."""

MARGIN = 3
"""Least pixels of the picture between the evidence and the edges of its box."""


def target_box(evidence: Sequence[Box], rng: np.random.Generator | None = None) -> Box:
    """The smallest box that holds all evidence with its margin, in pixels of the first view.

    Of its possible places, the one with the evidence nearest to the middle; with ``rng``, any.
    """
    left, top, right, bottom = union(*evidence)
    across, down = _places(left, right, SHORT), _places(top, bottom, SHORT)
    if not (across and down):
        across = _places(left, right, (VIEW // 2, VIEW))
        down = _places(top, bottom, (VIEW // 2, VIEW))
    if not rng:
        x1, x2 = min(across, key=lambda p: abs(2 * sum(p) - left - right))
        y1, y2 = min(down, key=lambda p: abs(2 * sum(p) - top - bottom))
    else:
        x1, x2 = across[int(rng.integers(len(across)))]
        y1, y2 = down[int(rng.integers(len(down)))]
    return x1, y1, x2, y2


def call_text(box: Sequence[int]) -> str:
    """The call for a box."""
    return PROFILE.tool.example.replace("{box}", ",".join(map(str, box)))


def source_box(box: Box) -> Box:
    """A box of the first view in pixels of the picture."""
    x1, y1, x2, y2 = (2 * edge for edge in box)
    return x1, y1, x2, y2


def _places(low: int, high: int, sides: Sequence[int]) -> list[tuple[int, int]]:
    """Where the shortest side that is long enough can lie along one axis, in view pixels."""
    low, high = max(0, low - MARGIN), min(SIDE, high + MARGIN)
    for side in sides:
        starts = range(0, VIEW - side + 1, STEP)
        found = [(s, s + side) for s in starts if 2 * s <= low and 2 * (s + side) >= high]
        if found:
            return found
    return []
