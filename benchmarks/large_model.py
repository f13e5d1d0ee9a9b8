"""Random weights of Qwen2.5-VL's shapes on a CPU: exported, loaded, asked; one process each.

    python benchmarks/large_model.py --work-dir DIR [--shape 3b] [--precisions int8 int4 q4_k_m]

Prints the peak resident memory of each step, of which memory-mapped weights are a part that the
system can take back. The question is a two-turn one about a picture of 1200 x 900, with two crops;
the answer of random weights means nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from random_checkpoint import QWEN_3B, QWEN_7B, write_random_checkpoint

SIZE = (900, 1200, 3)
SHAPES = {"3b": QWEN_3B, "7b": QWEN_7B}
EXPORT_LIMITS = {"3b": 2.0, "7b": 3.0}
ASK_LIMITS = {("3b", "int4"): 6.0, ("7b", "int4"): 10.0}
"""Peak resident memory in GB that the project promises."""


def export(work: Path, precision: str, threads: int) -> dict[str, Any]:
    from awares_edge.export import export_checkpoint
    from awares_edge.protocol.profiles import get_profile

    del threads
    format = "gguf" if precision.startswith(("q", "f16")) else "onnx"
    export_checkpoint(
        work / "checkpoint", work / precision, format=format, precision=precision,
        profile=get_profile("paper"),
    )  # fmt: skip
    return {}


def ask(work: Path, precision: str, threads: int) -> dict[str, Any]:
    import awares_edge
    from awares_edge import AskOptions

    pixels = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    options = AskOptions(crops=("0", "3"), max_new_tokens=8)
    with awares_edge.load(work / precision, threads=threads, context=8192) as model:
        loaded = time.perf_counter()
        answer = model.ask(pixels, "What is written on the label?", options)
    phases = {name: sum(turn.ms[name] for turn in answer.turns) for name in answer.turns[0].ms}
    tokens = sum(turn.prefill_tokens + turn.decode_tokens for turn in answer.turns)
    return {"answer s": time.perf_counter() - loaded, "tokens": tokens, "ms": phases}


STEPS = {"export": export, "ask": ask}


def run(step: str, work: Path, precision: str, threads: int) -> dict[str, Any]:
    """A step in a process of its own."""
    command = [sys.executable, __file__, "--work-dir", str(work), "--step", step]
    command += ["--precisions", precision, "--threads", str(threads)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--work-dir", type=Path, required=True, help="for 16 GB of files, at 7b 30 GB"
    )
    parser.add_argument("--shape", choices=SHAPES, default="3b")
    parser.add_argument("--precisions", nargs="+", default=["int8", "int4"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    work, threads = options.work_dir, options.threads
    if options.step:
        start, cpu = time.perf_counter(), time.process_time()
        found = STEPS[options.step](work, options.precisions[0], threads)
        found |= {"s": time.perf_counter() - start, "cpu s": time.process_time() - cpu}
        found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps(found))
        return
    if not (work / "checkpoint").is_dir():
        shape = replace(SHAPES[options.shape], context=32_768)
        write_random_checkpoint(work / "checkpoint", shape, "BF16")
    export_limit = EXPORT_LIMITS[options.shape]
    held = True
    for precision in options.precisions:
        if not (work / precision).is_dir():
            found = run("export", work, precision, threads)
            size = sum(file.stat().st_size for file in (work / precision).iterdir()) / 1e9
            print(
                f"{precision}: exported in {found['s']:.0f} s ({found['cpu s']:.0f} s of CPU), "
                f"{size:.2f} GB, peak memory {found['peak']:.2f} GB (limit {export_limit})",
                flush=True,
            )
            held &= found["peak"] < export_limit
        found = run("ask", work, precision, threads)
        limit = ASK_LIMITS.get((options.shape, precision))
        print(
            f"{precision}: loaded and answered in {found['s']:.0f} s ({found['cpu s']:.0f} s of "
            f"CPU; the answer {found['answer s']:.0f} s, {found['tokens']} tokens), peak memory "
            f"{found['peak']:.2f} GB" + (f" (limit {limit})" if limit else "")
        )
        print("  " + ", ".join(f"{name} {ms / 1e3:.1f} s" for name, ms in found["ms"].items()))
        held &= found["peak"] < (limit or np.inf)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
