"""Compare two checkouts on the way to the first answer: import, verify, load, ask.

    python benchmarks/load_path.py BEFORE AFTER [--bundle DIR] [--rounds 20]

BEFORE and AFTER are source folders. Each measurement is a process of its own, the two take turns,
and a ratio is the median over rounds of after / before, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

_CHILD = """
import json, resource, sys, time
times = {}
start = last = time.perf_counter()
def lap(name):
    global last
    now = time.perf_counter()
    times[name], last = 1e3 * (now - last), now
import numpy, onnxruntime, PIL.Image, tokenizers
last = time.perf_counter()
import awares_edge
lap("import")
bundle = sys.argv[1] if len(sys.argv) > 1 else awares_edge.embedded_bundle()
awares_edge.Bundle.open(bundle)
lap("verify")
model = awares_edge.load(bundle, threads=1)
lap("load")
model.ask(numpy.zeros((224, 224, 3), "uint8"), "What?", awares_edge.AskOptions(max_new_tokens=4))
lap("ask")
times["whole"] = 1e3 * (time.perf_counter() - start) - times["verify"]
times["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps(times))
"""


def measure(checkout: Path, bundle: Path | None) -> dict[str, float]:
    """Milliseconds by phase, and the peak resident memory, of one new process."""
    command = [sys.executable, "-c", _CHILD, *([str(bundle)] if bundle else [])]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--bundle", type=Path, help="default: each checkout's embedded nano model")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()

    checkouts = [arguments.before.resolve(), arguments.after.resolve()]
    for checkout in checkouts:  # files into the page cache, bytecode where it is kept
        measure(checkout, arguments.bundle)
    rounds = []
    for i in range(arguments.rounds):
        order = checkouts if i % 2 == 0 else checkouts[::-1]
        found = {checkout: measure(checkout, arguments.bundle) for checkout in order}
        rounds.append([found[checkout] for checkout in checkouts])
    print(f"{'':8} {'before':>9} {'after':>9} {'ratio':>7}   median of {arguments.rounds} rounds")
    for name in rounds[0][0]:
        before, after = ([pair[side][name] for pair in rounds] for side in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(before, after, strict=True))
        medians = statistics.median(before), statistics.median(after)
        print(f"{name:8} {medians[0]:9.1f} {medians[1]:9.1f} {ratio:7.3f}")


if __name__ == "__main__":
    main()
