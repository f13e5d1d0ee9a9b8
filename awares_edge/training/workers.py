"""Data workers that leave the processor to the trainer."""

from __future__ import annotations

import os


def be_nice(_worker: int) -> None:
    """Lower this process's priority."""
    os.nice(5)
