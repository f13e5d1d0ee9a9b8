"""One stage: whether it can run, and its process with its time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from awares_edge.extras import missing
from scripts.gpu_proof.gpu_memory import PeakMemory
from scripts.gpu_proof.record import Outcome
from scripts.gpu_proof.stages import ROOT, RUNTIMES_STAGE, Stage

_WORKER = "scripts.gpu_proof.work"
_LOG_CHARACTERS = 4000
_POLL_S = 0.05


def obstacle(stage: Stage, device: str, outcomes: Mapping[str, Outcome]) -> str:
    """Why a stage cannot run here; empty where it can."""
    if lacking := missing(stage.packages):
        return f"not installed: {', '.join(lacking)}"
    if stage.name != RUNTIMES_STAGE:
        if outcomes[RUNTIMES_STAGE].result is None:
            return f"the {RUNTIMES_STAGE} stage found nothing"
        if not _offering(device, outcomes):
            return f"no runtime can use {device} here"
    if stage.runtime and (reason := _no_device(stage.runtime, device, outcomes)):
        return reason
    for name in stage.after:
        if outcomes[name].state != "done":
            return f"{name} {'failed' if outcomes[name].state == 'failed' else 'was not executed'}"
    return ""


def _no_device(runtime: str, device: str, outcomes: Mapping[str, Outcome]) -> str:
    if runtime in _offering(device, outcomes):
        return ""
    row = next(row for row in _rows(outcomes) if row["name"] == runtime)
    if row["missing"]:
        return f"not installed: {', '.join(row['missing'])}"
    if row["error"]:
        return f"{runtime} does not load: {row['error']}"
    offered = ", ".join(row["devices"]) or "nothing"
    return f"{runtime} cannot use {device} here (it offers {offered})"


def _offering(device: str, outcomes: Mapping[str, Outcome]) -> set[str]:
    """Names of the runtimes that can use a device, as the first stage found."""
    return {
        row["name"]
        for row in _rows(outcomes)
        if device in {name.partition(":")[0] for name in row["devices"]}
    }


def _rows(outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = outcomes[RUNTIMES_STAGE].result["runtimes"]
    return rows


def run_stage(
    stage: Stage,
    work: Path,
    limit_s: float,
    gpu_used: Callable[[], int] | None,
    stop: threading.Event | None = None,
) -> Outcome:
    """Run a stage in a process of its own; everything it started ends with it.

    Args:
        work: folder for what stages leave to each other, and for their logs.
        limit_s: the process is killed then.
        gpu_used: reads the GPU memory in use, in bytes; None for no measurement.
        stop: the process is killed when this is set.
    """
    log, result = work / f"{stage.name}.log", work / f"{stage.name}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", _WORKER, stage.task, str(result)]
    start = monotonic()
    with log.open("wb") as output, PeakMemory(gpu_used) as memory:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=ROOT,
            env=_environment(), start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(json.dumps(_placed(stage.arguments, work)).encode())
            reason = _wait(process, limit_s, stop or threading.Event())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = round(monotonic() - start, 2)
    found, error = _read(result)
    reason = reason or error or ("" if found is not None else _died(process.returncode, log))
    tail = log.read_text(errors="replace")[-_LOG_CHARACTERS:] if reason else ""
    return Outcome("failed" if reason else "done", reason, seconds, memory.peak, found, tail)


def _wait(process: subprocess.Popen[bytes], limit_s: float, stop: threading.Event) -> str:
    """Wait until the process ends; why it must be killed instead, or nothing."""
    end = monotonic() + limit_s
    while process.poll() is None:
        if monotonic() >= end:
            return f"stopped at its limit of {limit_s:.0f} s"
        if stop.wait(_POLL_S):
            return "interrupted"
    return ""


def _environment() -> dict[str, str]:
    """Without network, and with the CUDA libraries that pip has installed.

    onnxruntime-gpu finds them beside itself alone, which a package from another folder is not.
    """
    libraries = [str(p) for entry in sys.path for p in sorted(Path(entry).glob("nvidia/*/lib"))]
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": _joined([str(ROOT)], "PYTHONPATH"),
        "LD_LIBRARY_PATH": _joined(libraries, "LD_LIBRARY_PATH"),
    }


def _joined(paths: list[str], variable: str) -> str:
    """The paths, then those that the variable has already."""
    return os.pathsep.join(filter(None, [*paths, os.environ.get(variable)]))


def _placed(value: Any, work: Path) -> Any:
    """Arguments with the work folder in place of WORK."""
    return {
        name: str(work / v[len("WORK/") :]) if isinstance(v, str) and v.startswith("WORK/") else v
        for name, v in value.items()
    }


def _read(path: Path) -> tuple[Any, str]:
    try:
        outcome = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, ""
    return outcome["result"], outcome["error"]


def _died(code: int, log: Path) -> str:
    how = f"exit code {code}"
    if code < 0:
        with suppress(ValueError):
            how = signal.Signals(-code).name
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"the process ended with {how}" + (f": {lines[-1][:200]}" if lines else "")
