"""How a station runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from awares_edge.camera.camera import MAX_AGE_MS
from awares_edge.camera.prepare import Preparation
from awares_edge.errors import InputError


@dataclass(frozen=True, slots=True)
class StationOptions:
    """How a station runs.

    Attributes:
        source: what `open_source` takes; the first one in use.
        offered: further sources that may be chosen, besides those found on this machine.
        every: least seconds from the beginning of one continuous question to the next.
        max_age_ms: oldest frame that is asked about.
        record_to: folder for frames and answers; None where recording is not offered.
        history: exchanges that are remembered.
        may_be_still: equal frames are normal: the camera is not frozen for them.
        abstain_below: an answer with a lower confidence becomes "unsure"; None for never.
        prepare: applied to frames; None for the one that the model's profile needs.
    """

    source: str = "synthetic"
    offered: tuple[str, ...] = ()
    every: float = 0.0
    max_age_ms: float = MAX_AGE_MS
    record_to: Path | None = None
    history: int = 200
    may_be_still: bool = False
    abstain_below: float | None = None
    prepare: Preparation | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            InputError: a number is out of its range.
        """
        if not 0 <= self.every < math.inf:
            raise InputError("every must be at least 0 seconds, and finite")
        if not 0 < self.max_age_ms < math.inf:
            raise InputError("max_age_ms must be above 0, and finite")
        if self.abstain_below is not None and not 0 <= self.abstain_below <= 1:
            raise InputError("abstain_below must be between 0 and 1")
        if self.history < 1:
            raise InputError("history must be at least 1")
