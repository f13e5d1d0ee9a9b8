"""A run: every variant in a process of its own, one after the other, and the machine's limits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from awares_edge.errors import AwaresError, InputError
from awares_edge.evaluation.machine import describe_machine, load_average, manifest_sha256, versions
from awares_edge.evaluation.profile.job import Job
from awares_edge.evaluation.profile.summary import summarise
from awares_edge.evaluation.profile.work import Shape
from awares_edge.runtimes.threads import cores

FORMAT, VERSION = "awares-edge-profile", 1

Progress = Callable[[str, int, int], None]

# What the libraries read when they are loaded.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def profile(jobs: Sequence[Job], progress: Progress) -> dict[str, Any]:
    """Measure every job; what `awares-edge profile --json` prints.

    Raises:
        AwaresError: a variant cannot be measured; the message is that of its process.
    """
    shapes = {
        job.variant: Shape.read(Path(job.variant.path)) if job.variant.model is None else None
        for job in jobs
    }
    before = load_average()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    limits: dict[int, dict[str, float]] = {}
    variants = []
    for number, job in enumerate(jobs):
        job = replace(job, cpus=pinned(job.variant.threads))
        shape = shapes[job.variant]
        threads = job.variant.threads or cores()
        if shape and threads not in limits:
            task = {"what": "limits", "threads": threads, "cpus": job.cpus}
            limits[threads] = in_process(task, threads, lambda *_: None)
        label = f"{number + 1} of {len(jobs)}: {describe(job)}"
        task = {"what": "measure", **job.to_dict()}
        result = in_process(
            task,
            job.variant.threads,
            lambda done, total, label=label: progress(label, done, total),  # type: ignore[misc]
        )
        result["summary"] = summarise(result, shape, limits.get(threads, {}))
        result["model"] = asdict(shape.spec) if shape else None
        result["manifest_sha256"] = manifest_sha256(Path(job.variant.path)) if shape else None
        variants.append(result)
    return {
        "format": FORMAT,
        "version": VERSION,
        "started": started,
        "machine": describe_machine(),
        "versions": versions(),
        "load_average": {"before": before, "after": load_average()},
        "limits": {str(threads): found for threads, found in limits.items()},
        "variants": variants,
    }


def describe(job: Job) -> str:
    """The variant in a few words."""
    variant = job.variant
    parts = [variant.name, variant.mode]
    if variant.threads:
        parts.append(f"{variant.threads} thread" + "s" * (variant.threads > 1))
    if variant.max_pixels:
        parts.append(f"{variant.max_pixels:,} pixels")
    return ", ".join(parts)


def pinned(threads: int | None) -> tuple[int, ...]:
    """The processors to stay on: the last ones, since the first serves most interrupts."""
    if threads is None or not hasattr(os, "sched_getaffinity"):
        return ()
    usable = sorted(os.sched_getaffinity(0))
    return tuple(usable[-threads:]) if threads <= len(usable) else ()


def in_process(
    task: dict[str, Any], threads: int | None, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Run a worker on a task.

    Raises:
        AwaresError: it reported an error, or ended without a result.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    with TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "awares_edge.evaluation.profile.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
        )  # fmt: skip
        try:
            if (result := _follow(process, task, progress)) is not None:
                return result
            log.seek(0)
            raise _died(process.wait(), log.read())
        finally:
            process.kill()
            process.wait()


def _died(code: int, log: str) -> AwaresError:
    if code == -signal.SIGKILL:
        return AwaresError(
            "the system killed the measuring process, most likely for memory: use a smaller model "
            "or smaller pictures"
        )
    last = (log.strip().splitlines() or ["no message"])[-1]
    return AwaresError(f"the measuring process ended with {code}: {last}")


def _follow(
    process: subprocess.Popen[str], task: dict[str, Any], progress: Callable[[int, int], None]
) -> dict[str, Any] | None:
    """What the process reports; None where it ended without a result."""
    assert process.stdin
    assert process.stdout
    try:
        json.dump(task, process.stdin)
        process.stdin.close()
    except BrokenPipeError:
        return None
    for line in process.stdout:
        message = json.loads(line)
        if "error" in message:
            raise InputError(message["error"])
        if "result" in message:
            result: dict[str, Any] = message["result"]
            return result
        progress(message["done"], message["total"])
    return None
