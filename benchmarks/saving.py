"""How much of the theoretical saving arrives: vision and prefill of awares against mode full.

    python benchmarks/saving.py --work-dir DIR [--precision int8] [--side 1008] [--rounds 9]

A random checkpoint (hidden 1024, 12 layers) asks about noise pictures of side x side pixels, two
crops, one thread. Fewer visual tokens should save in proportion: `full` costs 1 / RTR as much as
awares. Printed is the share of that factor which the times reach. Both modes take turns, so that a
busy machine slows both; system prompt and weights are in use before the first round counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

import numpy as np
from random_checkpoint import TWO_TURN, write_random_checkpoint

import awares_edge
from awares_edge import Answer, AskOptions, Model
from awares_edge.export import export_checkpoint
from awares_edge.protocol.profiles import get_profile

LEAST = 0.8
MODES = {
    "awares": AskOptions(crops=("0", "3"), max_new_tokens=1),
    "full": AskOptions(mode="full", max_new_tokens=1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work-dir", type=Path, required=True, help="for 2 GB of files")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--side", type=int, default=1008)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    bundle = prepare(options.work_dir, options.precision)
    with awares_edge.load(bundle, threads=options.threads) as model:
        ask(model, "awares", options.side, seed=0), ask(model, "full", options.side, seed=0)
        rounds = [
            {mode: ask(model, mode, options.side, seed) for mode in MODES}
            for seed in range(1, options.rounds + 1)
        ]
    ms = {mode: median(spent(answers[mode]) for answers in rounds) for mode in MODES}
    rtr = rounds[0]["awares"].rtr
    reached = ms["full"] / ms["awares"] * rtr
    print(
        f"vision and prefill: awares {ms['awares']:.0f} ms at RTR {rtr:.3f}, "
        f"full {ms['full']:.0f} ms: {ms['full'] / ms['awares']:.2f} times as long, "
        f"{reached:.0%} of 1 / RTR (aim {LEAST:.0%})"
    )
    sys.exit(0 if reached >= LEAST else 1)


def prepare(work: Path, precision: str) -> Path:
    """Export the random checkpoint, unless it is there."""
    checkpoint, bundle = work / "checkpoint", work / precision
    if not checkpoint.is_dir():
        write_random_checkpoint(checkpoint, TWO_TURN)
    if not bundle.is_dir():
        export_checkpoint(checkpoint, bundle, precision=precision, profile=get_profile("paper"))
    return bundle


def ask(model: Model, mode: str, side: int, seed: int) -> Answer:
    """One question about a picture that nobody asked about before."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return model.ask(pixels, "What is written there?", MODES[mode])


def spent(answer: Answer) -> float:
    """Milliseconds of vision and prefill, all turns."""
    return sum(turn.ms["vision"] + turn.ms["prefill"] for turn in answer.turns)


if __name__ == "__main__":
    main()
