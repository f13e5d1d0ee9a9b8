"""How many CPU threads a runtime may be given."""

from __future__ import annotations

import os

from awares_edge.errors import InputError

_PER_CORE = 4
"""Hundreds of threads on a few cores wait for each other and never finish."""


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def check_threads(count: int | None) -> None:
    """
    Raises:
        InputError: ``count`` is not within 1 and what the machine can run.
    """
    most = _PER_CORE * cores()
    if count is not None and not 1 <= count <= most:
        raise InputError(
            f"{count} threads are not within 1 and {most}, {_PER_CORE} a core: "
            f"give {cores()}, one a core"
        )
