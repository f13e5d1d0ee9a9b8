"""Thousands of questions on one loaded model: does its memory stay where it is?

    python benchmarks/soak.py BUNDLE [--questions 2000] [--threads 1]

Pictures of changing size, direct and two-turn questions, kept and closed pictures, interrupted
streams. Prints resident memory along the way, and fails if the last tenth is over 2% above the
first tenth after warming up.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge.errors import DeadlineExceeded  # noqa: E402

WARM_UP, SAMPLES, LIMIT = 0.1, 40, 0.02
SIZES = ((224, 224), (320, 224), (448, 448), (96, 400))
CROPS: tuple[tuple[str, ...], ...] = ((), ("3",), ("0", "1"), ("all",))


def resident() -> int:
    """Resident memory of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not say how much memory a process has")


def ask(model: awares_edge.Model, i: int, rng: Any) -> None:
    """The i-th question: every way of asking in turn."""
    width, height = SIZES[i % len(SIZES)]
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    crops = CROPS[i // len(SIZES) % len(CROPS)]
    options = awares_edge.AskOptions(crops=crops, max_new_tokens=6)
    if i % 7 == 6:
        with model.open(image) as picture:
            picture.ask(f"Question {i}?", options)
            stream = picture.stream("And?", options)
            next(stream)
            stream.close()
            with contextlib.suppress(DeadlineExceeded):
                picture.ask("Late?", awares_edge.AskOptions(timeout=1e-9))
    else:
        model.ask(image, f"Question {i}?", options)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=1024)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    seen: list[int] = []
    start = time.perf_counter()
    with awares_edge.load(
        options.bundle, threads=options.threads, context=options.context
    ) as model:
        first = int(options.questions * WARM_UP)
        step = max(1, (options.questions - first) // SAMPLES)
        for i in range(options.questions):
            ask(model, i, rng)
            if i >= first and (i - first) % step == 0:
                seen.append(resident())
            if i % (options.questions // 10) == 0:
                print(f"{i:6} questions: {resident() / 1e6:8.1f} MB", flush=True)
    tenth = max(1, len(seen) // 10)
    before, after = statistics.median(seen[:tenth]), statistics.median(seen[-tenth:])
    growth = after / before - 1
    seconds = time.perf_counter() - start
    print(
        f"{options.questions} questions in {seconds:.0f} s: {before / 1e6:.1f} MB after warming "
        f"up, {after / 1e6:.1f} MB at the end ({growth:+.2%})"
    )
    return 0 if growth <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
