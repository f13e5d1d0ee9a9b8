"""A run: every variant in a process of its own, one after the other, and the machine's limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from awares_edge.bundle.store import Bundle
from awares_edge.errors import AwaresError, InputError
from awares_edge.evaluation.machine import describe_machine, load_average, versions
from awares_edge.evaluation.profile.job import Job
from awares_edge.evaluation.profile.summary import summarise
from awares_edge.runtimes.threads import cores
from awares_edge.spec import MANIFEST_NAME, ModelSpec

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
    specs = {job.variant.path: read_spec(Path(job.variant.path)) for job in jobs}
    before = load_average()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    limits: dict[int, dict[str, float]] = {}
    variants = []
    for number, job in enumerate(jobs):
        job = replace(job, cpus=pinned(job.variant.threads))
        threads = job.variant.threads or cores()
        if threads not in limits:
            task = {"what": "limits", "threads": threads, "cpus": job.cpus}
            limits[threads] = in_process(task, threads, lambda *_: None)
        label = f"{number + 1} of {len(jobs)}: {describe(job)}"
        task = {"what": "measure", **job.to_dict()}
        result = in_process(
            task,
            job.variant.threads,
            lambda done, total, label=label: progress(label, done, total),  # type: ignore[misc]
        )
        result["summary"] = summarise(result, specs[job.variant.path], limits[threads])
        result["model"] = asdict(specs[job.variant.path])
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
    parts = [Path(variant.path).resolve().name, variant.mode]
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


def read_spec(path: Path) -> ModelSpec:
    """The shape of the model at a path.

    Raises:
        AwaresError: there is neither a bundle nor a checkpoint.
    """
    if (path / MANIFEST_NAME).exists() or not (path / "config.json").is_file():
        return Bundle.open(path, verify=False).manifest.model
    from awares_edge.checkpoint.checkpoint import Checkpoint

    return Checkpoint.open(path).spec


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
    process = subprocess.Popen(
        [sys.executable, "-m", "awares_edge.evaluation.profile.worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment,
    )  # fmt: skip
    try:
        return _follow(process, task, progress)
    finally:
        process.kill()
        process.wait()


def _follow(
    process: subprocess.Popen[str], task: dict[str, Any], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    assert process.stdin
    assert process.stdout
    assert process.stderr
    json.dump(task, process.stdin)
    process.stdin.close()
    for line in process.stdout:
        message = json.loads(line)
        if "error" in message:
            raise InputError(message["error"])
        if "result" in message:
            result: dict[str, Any] = message["result"]
            return result
        progress(message["done"], message["total"])
    last = (process.stderr.read().strip().splitlines() or ["no message"])[-1]
    raise AwaresError(f"the measuring process ended with code {process.wait()}: {last}")
