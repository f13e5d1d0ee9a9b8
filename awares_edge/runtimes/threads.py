"""How many CPU threads a runtime uses."""

from __future__ import annotations

import os

from awares_edge.errors import InputError

_PER_CORE = 4
"""Hundreds of threads on a few cores wait for each other and never finish."""


def cores() -> int:
    """Cores that this process may use: its affinity mask (`taskset`, a container's cpuset)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def check_threads(count: int | None) -> None:
    """
    Raises:
        InputError: `count` is not between 1 and four for each core.
    """
    most = _PER_CORE * cores()
    if count is not None and not 1 <= count <= most:
        raise InputError(
            f"threads must be between 1 and {most} ({_PER_CORE} for each core), not {count}: "
            f"{cores()} is one for each core"
        )


def choose_threads(count: int | None) -> int:
    """`count`, or one thread for each core that this process may use.

    Libraries left to themselves count the cores of the whole machine, and their threads then wait
    for each other on the few that the process has.

    Raises:
        InputError: as `check_threads`.
    """
    check_threads(count)
    return count or cores()
