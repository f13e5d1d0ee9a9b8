"""What a stage does, in its own process.

    python -m scripts.gpu_proof.work TASK RESULT < arguments.json

RESULT becomes a JSON file: {"result": ..., "error": one line, empty where all went well}.
"""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.gpu_proof.stages import ROOT

_FIGURES = ("total_ms", "first_token_ms", "ttft_ms", "tpot_ms", "tokens_per_s", "rtr")


class Failed(Exception):
    """The stage ran and found something wrong."""

    def __init__(self, reason: str, result: Any = None) -> None:
        super().__init__(reason)
        self.result = result


def check_runtimes() -> dict[str, Any]:
    """`awares-edge runtimes --check`, and what the machine is."""
    from awares_edge.evaluation.machine import describe_machine, versions

    rows = _awares("runtimes", "--check", "--json", codes=(0, 1))
    result = {
        "runtimes": rows,
        "machine": describe_machine(),
        "versions": versions(),
        "gpu": _gpus(),
    }
    failed = [
        f"{row['name']} on {found['device']}: {found['reason']}"
        for row in rows
        for found in row.get("checks", [])
        if found["result"] == "fail"
    ]
    if failed:
        raise Failed("; ".join(failed), result)
    return result


class _Outcomes:
    """A pytest plugin that counts outcomes and keeps the first line of each failure."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("passed", "failed", "skipped"), 0)
        self.failures: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] += 1
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr)
            self.failures.append({"test": report.nodeid, "reason": _line(message)})


def conformance(runtime: str, device: str, tests: str) -> dict[str, Any]:
    """The conformance suite of one runtime."""
    import pytest

    outcomes = _Outcomes()
    chosen = f"{runtime} and ({tests})" if tests else runtime
    pytest.main(
        ["tests/runtimes/test_conformance.py", "-p", "no:cacheprovider", "--tb=short",
         "--device", device, "-k", chosen],
        plugins=[outcomes],
    )  # fmt: skip
    result = {**outcomes.counts, "failures": outcomes.failures}
    if outcomes.counts["failed"]:
        first = outcomes.failures[0]
        name = first["test"].rpartition("::")[2]
        raise Failed(f"{outcomes.counts['failed']} failed, first {name}: {first['reason']}", result)
    if not outcomes.counts["passed"]:
        raise Failed("no test was run", result)
    return result


def save_reference(checkpoint: str, output: str, questions: int) -> dict[str, Any]:
    """Record what transformers (float32) says on the CPU."""
    options = ("--protocol", "nano", "--limit", str(questions), "--device", "cpu")
    _awares("parity", checkpoint, *options, "--save-reference", output, json_output=False)
    return {"questions": questions, "bytes": Path(output).stat().st_size}


def parity(reference: str, candidate: str, device: str) -> dict[str, Any]:
    """`awares-edge parity` of a saved reference."""
    options = ("--protocol", "nano", "--device", device, "--json")
    (found,) = _awares("parity", reference, candidate, *options, codes=(0, 1))["candidates"]
    about = found["candidate"]
    result = {
        **{name: about[name] for name in ("runtime", "precision", "device")},
        **{name: found[name] for name in ("questions", "decisions", "answers", "warm", "drift")},
        **{name: found[name] for name in ("stages", "first_to_diverge", "checks", "agrees")},
    }
    if not found["agrees"]:
        wrong = [
            f"{check['check']} {check['value']:.4f}" for check in found["checks"] if not check["ok"]
        ]
        raise Failed(f"below its limit: {', '.join(wrong)}", result)
    return result


def export(
    checkpoint: str, bundle: str, format: str, precision: str, protocol: str
) -> dict[str, Any]:
    """Export a checkpoint to a bundle."""
    from awares_edge.export import export_checkpoint
    from awares_edge.protocol.profiles import get_profile

    made = export_checkpoint(
        Path(checkpoint), Path(bundle), format=format, precision=precision,
        profile=get_profile(protocol), overwrite=True,
    )  # fmt: skip
    return {"bytes": sum(file.bytes for file in made.manifest.files.values())}


def random_checkpoint(path: str, shape: str) -> dict[str, Any]:
    """Write random weights in bf16, one piece at a time."""
    from benchmarks.random_checkpoint import QWEN_3B, write_random_checkpoint
    from tests.support.checkpoints import SHAPES

    tiny = replace(SHAPES["tied"], context=2048)
    write_random_checkpoint(Path(path), {"3b": QWEN_3B, "tiny": tiny}[shape], "BF16")
    size = (Path(path) / "model.safetensors").stat().st_size
    return {"bytes": size, "parameters": size // 2}


def profile(
    path: str,
    runtime: str,
    mode: str,
    dtype: str | None,
    protocol: str,
    device: str,
    side: int,
    iterations: int,
    warmup: int,
    answer_tokens: int,
) -> dict[str, Any]:
    """Measure one variant as `awares-edge profile` does."""
    from awares_edge.evaluation.profile.job import Job, Variant
    from awares_edge.evaluation.profile.measure import measure
    from awares_edge.evaluation.profile.summary import summarise
    from awares_edge.evaluation.profile.work import Shape

    job = Job(
        Variant(path, mode, runtime, protocol, device, dtype=dtype),
        side=side, crops=("0", "3"), answer_tokens=answer_tokens, free=False, warmup=warmup,
        iterations=iterations, seed=0,
    )  # fmt: skip
    found = measure(job, lambda *_: None)
    summary = summarise(found, Shape.read(Path(path)), {})
    return {
        **{name: found[name] for name in ("runtime", "precision", "device", "load_ms")},
        "mode": mode,
        "questions": summary["questions"],
        "figures": {name: summary["figures"][name] for name in _FIGURES},
        "phases": [
            {name: phase.get(name) for name in ("turn", "phase", "p50", "p90")}
            for phase in summary["phases"]
        ],
        "peak_host_bytes": found["memory"]["peak"],
    }


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task
    for task in (
        check_runtimes, conformance, save_reference, parity, export, random_checkpoint, profile,
    )
}  # fmt: skip


def _awares(*arguments: str, codes: tuple[int, ...] = (0,), json_output: bool = True) -> Any:
    """Run a command of the toolkit; its JSON."""
    command = [sys.executable, "-m", "awares_edge", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode not in codes:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Failed(lines[-1])
    return json.loads(done.stdout) if json_output else None


def _gpus() -> list[str]:
    """Name, memory and driver of each GPU, as nvidia-smi has them."""
    query = "--query-gpu=name,memory.total,driver_version"
    try:
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()


def _line(text: str) -> str:
    return " ".join(text.split())[:300]


def main(arguments: list[str]) -> int:
    task, output = arguments
    try:
        outcome = {"result": TASKS[task](**json.load(sys.stdin)), "error": ""}
    except Failed as error:
        outcome = {"result": error.result, "error": _line(str(error))}
    except Exception as error:  # whatever a library raises is this stage's outcome
        traceback.print_exc()
        outcome = {"result": None, "error": _line(f"{type(error).__name__}: {error}")}
    Path(output).write_text(json.dumps(outcome), encoding="utf-8")
    return 1 if outcome["error"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
