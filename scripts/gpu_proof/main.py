"""Command line: run the stages while the budget lasts, and write down how each one ended."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any

from awares_edge.errors import AwaresError
from awares_edge.files import check_output, whole_file
from scripts.gpu_proof.gpu_memory import nvml_reader
from scripts.gpu_proof.record import Outcome, Record
from scripts.gpu_proof.report import markdown
from scripts.gpu_proof.runner import obstacle, run_stage
from scripts.gpu_proof.schedule import run_all
from scripts.gpu_proof.stages import FULL, REHEARSAL, Size, Stage, all_stages

# A stage that has less than this left is not begun.
_LEAST_S = 5.0
_SPENT = "the time budget is spent"


def main(arguments: Sequence[str] | None = None) -> int:
    """0: everything that could run has passed. 1: a stage failed. 2: nothing ran on the device."""
    options = _parser().parse_args(arguments)
    try:
        return _prove(options)
    except (AwaresError, OSError) as error:
        print(f"gpu-proof: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu-proof",
        description="Conformance, parity and profiles on CUDA, of every runtime that is installed. "
        "Writes gpu-proof.json and gpu-proof.md after every stage.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("gpu-proof"), help="folder for the two files"
    )
    parser.add_argument(
        "--budget", type=float, default=480, help="seconds for everything (default: 480)"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "awares-edge-gpu-proof",
        help="folder for models, 20 GB; emptied of them when all is done",
    )
    parser.add_argument("--resume", action="store_true", help="keep what is done in the output")
    parser.add_argument(
        "--rehearse", action="store_true", help="everything tiny, on the CPU, with more patience"
    )
    return parser


def _prove(options: argparse.Namespace) -> int:
    size = REHEARSAL if options.rehearse else FULL
    stages = all_stages(size)
    data, page = options.output / "gpu-proof.json", options.output / "gpu-proof.md"
    for path in (data, page):
        check_output(path)
    work = options.work.resolve() / size.device
    work.mkdir(parents=True, exist_ok=True)
    gpu_used, no_memory = nvml_reader()
    record = Record(data, _about(options, size, no_memory))
    if options.resume:
        record.resume(stages, work)
    end = monotonic() + options.budget * size.patience
    stop, writing = threading.Event(), threading.Lock()

    def attempt(stage: Stage) -> None:
        title = f"{stages.index(stage) + 1:2} of {len(stages)}  {stage.name}"
        if stage.name in record.outcomes:
            print(f"{title}: done before", flush=True)
            return
        outcome = _attempt(stage, size, record, work, end, gpu_used, stop)
        with writing:
            record.add(stages, stage.name, outcome)
            with whole_file(page) as file:
                file.write(markdown(record.to_dict(stages)).encode())
            print(f"{title}: {_line(outcome)}", flush=True)

    run_all(stages, attempt, stop.set)
    _clean(stages, record, work)
    print(f"\n{_counted(record.counts())}; results in {data} and {page}")
    return _exit_code(stages, record)


def _attempt(
    stage: Stage,
    size: Size,
    record: Record,
    work: Path,
    end: float,
    gpu_used: Any,
    stop: threading.Event,
) -> Outcome:
    """Run a stage if it can run here, and until `end` (of the budget, as `monotonic` counts)."""
    if reason := obstacle(stage, size.device, record.outcomes):
        return Outcome("not executed", reason)
    left_s = end - monotonic()
    if left_s < _LEAST_S:
        return Outcome("not executed", _SPENT)
    limit_s = min(stage.limit_s * size.patience, left_s)
    # The memory in use beside a stage is another stage's.
    outcome = run_stage(stage, work, limit_s, None if stage.beside else gpu_used, stop)
    if outcome.state == "failed" and monotonic() >= end:
        return Outcome("not executed", _SPENT, outcome.seconds)
    return outcome


def _about(options: argparse.Namespace, size: Size, no_memory: str) -> dict[str, Any]:
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rehearsal": options.rehearse,
        "device": size.device,
        "budget_s": options.budget * size.patience,
        "gpu_memory": no_memory or "measured",
    }


def _exit_code(stages: Sequence[Stage], record: Record) -> int:
    if record.counts()["failed"]:
        return 1
    on_device = [
        record.outcomes[s.name].state for s in stages if s.runtime and s.group != "preparation"
    ]
    return 0 if "done" in on_device else 2


def _clean(stages: Sequence[Stage], record: Record, work: Path) -> None:
    """Remove the models, unless a later --resume can use them."""
    if any(o.state == "failed" or "budget" in o.reason for o in record.outcomes.values()):
        return
    for stage in stages:
        made = work / stage.makes
        if stage.makes and made.is_dir():
            shutil.rmtree(made)
        elif stage.makes:
            made.unlink(missing_ok=True)


def _line(outcome: Outcome) -> str:
    if outcome.state == "not executed":
        return f"not executed: {outcome.reason}"
    reason = f": {outcome.reason}" if outcome.reason else ""
    return f"{outcome.state} in {outcome.seconds:.1f} s{reason}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())
