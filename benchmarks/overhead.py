"""What the controller and the preprocessing add to the model's own time, on two-turn questions.

Overhead is wall time less the phases in which the runtime computes (vision, prefill, decode).

    python benchmarks/overhead.py [--bundle DIR] [--size 896] [--rounds 20] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np

import awares_edge
from awares_edge import AskOptions

MODEL_PHASES = ("vision", "prefill", "decode")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="default: the embedded nano model")
    parser.add_argument("--size", type=int, default=224, help="side of the picture in pixels")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    shape = (arguments.size, arguments.size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    options = AskOptions(crops=("0", "3"), max_new_tokens=8)
    totals, overheads, preprocessing = [], [], []
    with awares_edge.load(arguments.bundle, threads=arguments.threads) as model:
        for round_ in range(arguments.rounds + 2):
            answer = model.ask(pixels, "What is written on the label?", options)
            if round_ < 2:  # warm-up
                continue
            model_ms = sum(turn.ms[phase] for turn in answer.turns for phase in MODEL_PHASES)
            totals.append(answer.total_ms)
            overheads.append(answer.total_ms - model_ms)
            preprocessing.append(sum(turn.ms["preprocess"] for turn in answer.turns))
    total, overhead = statistics.median(totals), statistics.median(overheads)
    share = 100 * overhead / (total - overhead)
    print(f"picture {arguments.size} x {arguments.size}, two turns, two crops")
    print(f"whole question  {total:8.2f} ms (median of {arguments.rounds})")
    print(f"overhead        {overhead:8.2f} ms, {share:.2f}% of the model's time")
    print(f"  preprocessing {statistics.median(preprocessing):8.2f} ms")


if __name__ == "__main__":
    main()
