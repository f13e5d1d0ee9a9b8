"""Runs one fuzz target in a process of its own, with limits on memory and on the time of a case.

A target is a class in a module of this folder:

    class Manifests:
        def __init__(self, folder: Path) -> None: ...       # makes its seeds there
        def case(self, random: Random) -> object: ...       # one input, made only from `random`
        def check(self, case: object) -> str: ...           # the outcome; refuses by AwaresError

`check` returns a short outcome ("accepted"), or raises `AwaresError` ("refused"). Anything else it
raises is a fault, as are a case that takes longer than `SECONDS`, a crash of the process, an error
message of several lines, and running out of the memory limit. The number of a case and the seed
give the same case again:

    python -m tests.fuzz.harness tests.fuzz.test_manifests:Manifests --only 1234
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from awares_edge.errors import AwaresError

SECONDS = 5.0
"""Longest time of one case."""
MEMORY = 4 << 30
"""Address space of the process, in bytes."""
_MOST_FAULTS = 10
_ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Report:
    """What became of the cases of one target."""

    target: str
    cases: int = 0
    slowest: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{n:,} {name}" for name, n in sorted(self.outcomes.items()))
        name = self.target.split(":")[1]
        return f"{name}: {self.cases:,} cases ({counts}), slowest {self.slowest:.2f} s"


def fuzz(target: type, cases: int, *, seed: int = 0) -> Report:
    """Run `cases` cases of a target class in a child process; never raises for a fault."""
    name = f"{target.__module__}:{target.__qualname__}"
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.json"
        command = [sys.executable, "-m", "tests.fuzz.harness", name]
        command += ["--cases", str(cases), "--seed", str(seed), "--state", str(state)]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        report = Report(name)
        if state.exists():
            report = Report(**json.loads(state.read_text()))
        if done.returncode or report.cases + len(report.faults) == 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
            report.faults.append(
                f"the process ended with {done.returncode} in or after case {report.cases}:\n{tail}"
            )
        return report


def run(name: str, cases: range, seed: int, state: Path | None) -> Report:
    """Run the cases of a target in this process."""
    module, _, attribute = name.partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    report, outcomes = Report(name), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        target = kind(Path(folder))
        for index in cases:
            case = target.case(Random(f"{seed}/{index}"))
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            started = time.perf_counter()
            try:
                outcome = target.check(case)
            except AwaresError as error:
                outcome = "refused"
                if "\n" in str(error).strip() or not str(error).strip():
                    report.faults.append(f"case {index}: not one line: {error!r}")
            except BaseException:
                outcome = "faults"
                report.faults.append(f"case {index}:\n{traceback.format_exc()}")
            faulthandler.cancel_dump_traceback_later()
            report.slowest = max(report.slowest, time.perf_counter() - started)
            outcomes[outcome] += 1
            report.cases, report.outcomes = report.cases + 1, dict(outcomes)
            if state and (report.cases % 100 == 0 or report.faults):
                state.write_text(json.dumps(vars(report)))
            if len(report.faults) >= _MOST_FAULTS:
                break
    if state:
        state.write_text(json.dumps(vars(report)))
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", help="module:Class")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--only", type=int, help="run this case alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="file for the report as JSON")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    cases = range(options.cases) if options.only is None else range(options.only, options.only + 1)
    report = run(options.target, cases, options.seed, options.state)
    print(report, *report.faults, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
