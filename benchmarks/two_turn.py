"""A two-turn question in three ways, one process each, side by side on the same machine.

    ours       the onnx runtime, fp32: kept KV cache, drafted call, shared system prompt
    append     transformers, fp32: kept KV cache, explicit positions, the rest as it comes
    reference  transformers, fp32: what the published code does, two full `generate` calls

The processes take turns, so that whatever else the machine does meets all of them alike.

    python benchmarks/two_turn.py --work-dir DIR [--threads 1] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from random_checkpoint import TWO_TURN, write_random_checkpoint

# A picture of 896x896: its low-res view and each quadrant have 256 visual tokens.
VIEW_PIXELS, CROPS = 448, 2
SYSTEM, OPENING, QUESTION, BETWEEN = 150, 4, 24, 6
CALL, ANSWER = 12, 8
# The call's steps under its grammar: one for each choice, fixed text in between drafted.
CALL_STEPS = (1, 7, 3, 1)

VARIANTS = ("ours", "append", "reference")
TURN_1, TURN_2 = ("vision 1", "prefill 1", "call"), ("vision 2", "prefill 2", "answer")


class Clock:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Any:
        start = time.perf_counter()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - start) * 1e3


def pictures() -> list[Any]:
    """The low-res view and the crops, as patches."""
    from PIL import Image

    from awares_edge.vision import Preprocessing, extract_patches

    rng = np.random.default_rng(0)
    made = []
    for _ in range(1 + CROPS):
        pixels = rng.integers(0, 256, (VIEW_PIXELS, VIEW_PIXELS, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        made.append(extract_patches(image, Preprocessing(), min_pixels=3136, max_pixels=10**6))
    return made


def ids(start: int, count: int) -> tuple[int, ...]:
    return tuple(range(100 + start, 100 + start + count))


def by_session(runtime: Any, *, draft: bool, share_system: bool) -> Callable[[], dict[str, float]]:
    """A question over one kept cache, in a runtime of ours."""
    from awares_edge.runtimes.base import ImageSegment, TextSegment

    view, *crops = pictures()
    system = runtime.open_session()
    if share_system:
        system.prefill([TextSegment(ids(0, SYSTEM))])
    steps = CALL_STEPS if draft else (1,) * CALL

    def run() -> dict[str, float]:
        clock = Clock()
        with clock.stage("vision 1"):
            encoded = runtime.encode_image(view)
        with clock.stage("prefill 1"):
            session = system.fork()
            first = [TextSegment(ids(0, OPENING)), ImageSegment(encoded)]
            if not share_system:
                first.insert(0, TextSegment(ids(0, SYSTEM)))
            session.prefill([*first, TextSegment(ids(9, QUESTION))])
        with clock.stage("call"):
            for count in steps:
                session.prefill([TextSegment(ids(50, count))], keep_logits=count)
        segments = []
        for crop in crops:
            with clock.stage("vision 2"):
                segments += [
                    TextSegment(ids(20, BETWEEN)),
                    ImageSegment(runtime.encode_image(crop)),
                ]
        with clock.stage("prefill 2"):
            session.prefill([*segments, TextSegment(ids(70, BETWEEN))])
        with clock.stage("answer"):
            for token in ids(80, ANSWER - 1):
                session.decode(token)
        session.close()
        return clock.ms

    return run


def by_generate(checkpoint: Path) -> Callable[[], dict[str, float]]:
    """The published way: everything anew for the second turn."""
    import torch

    from awares_edge.runtimes.torch_reference import TorchRuntime

    model = TorchRuntime.load(checkpoint).model
    view, *crops = pictures()
    pad = model.config.image_token_id

    def inputs(parts: list[Any]) -> dict[str, Any]:
        tokens: list[int] = []
        for part in parts:
            tokens += part if isinstance(part, tuple) else [pad] * part.grid.tokens
        images = [part for part in parts if not isinstance(part, tuple)]
        input_ids = torch.tensor([tokens])
        return {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "mm_token_type_ids": (input_ids == pad).int(),
            "pixel_values": torch.from_numpy(np.concatenate([image.pixels for image in images])),
            "image_grid_thw": torch.tensor([[1, i.grid.height, i.grid.width] for i in images]),
        }

    first = [ids(0, SYSTEM), ids(0, OPENING), view, ids(9, QUESTION)]
    second = [*first, ids(50, CALL)]
    for crop in crops:
        second += [ids(20, BETWEEN), crop]
    second.append(ids(70, BETWEEN))

    def generate(parts: list[Any], count: int) -> None:
        with torch.inference_mode():
            model.generate(
                **inputs(parts), max_new_tokens=count, min_new_tokens=count, do_sample=False
            )

    def run() -> dict[str, float]:
        clock = Clock()
        with clock.stage("turn 1"):
            generate(first, CALL)
        with clock.stage("turn 2"):
            generate(second, ANSWER)
        return clock.ms

    return run


def serve(variant: str, work: Path, threads: int) -> None:
    """A worker: one question for each line on standard input."""
    if variant == "ours":
        from awares_edge.bundle import Bundle
        from awares_edge.runtimes.onnx import OnnxRuntime

        runtime: Any = OnnxRuntime.load(Bundle.open(work / "bundle", verify=False), threads=threads)
        run = by_session(runtime, draft=True, share_system=True)
    else:
        import torch

        torch.set_num_threads(threads)
        if variant == "append":
            from awares_edge.runtimes.torch_reference import TorchRuntime

            runtime = TorchRuntime.load(work / "checkpoint")
            run = by_session(runtime, draft=False, share_system=False)
        else:
            run = by_generate(work / "checkpoint")
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(run()), flush=True)


def prepare(work: Path) -> None:
    """The random checkpoint and our bundle of it, made once."""
    if not (work / "bundle").is_dir():
        from awares_edge.export import export_checkpoint
        from awares_edge.protocol.profiles import get_profile

        if not (work / "checkpoint").is_dir():
            write_random_checkpoint(work / "checkpoint", TWO_TURN, "F32")
        export_checkpoint(work / "checkpoint", work / "bundle", profile=get_profile("paper"))


def measure(work: Path, threads: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Stage times of each variant, `rounds` of each after a warm-up, taking turns."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    workers, results = {}, {variant: [] for variant in VARIANTS}
    for variant in VARIANTS:
        command = [sys.executable, __file__, "--variant", variant, "--work-dir", str(work)]
        workers[variant] = subprocess.Popen(
            [*command, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        assert workers[variant].stdout.readline() == "ready\n", f"{variant} did not start"
    for turn in range(rounds + 1):
        for variant, worker in workers.items():
            worker.stdin.write("run\n")
            worker.stdin.flush()
            stages = json.loads(worker.stdout.readline())
            if turn:
                results[variant].append(stages)
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return results


def report(results: dict[str, list[dict[str, float]]]) -> None:
    """Medians by stage, and the ratios that the project promises."""
    median: dict[str, dict[str, float]] = {}
    for variant, rounds in results.items():
        for stages in rounds:
            if "turn 1" not in stages:
                stages["turn 1"] = sum(stages[name] for name in TURN_1)
                stages["turn 2"] = sum(stages[name] for name in TURN_2)
            stages["question"] = stages["turn 1"] + stages["turn 2"]
        names = rounds[0]
        median[variant] = {n: statistics.median(stages[n] for stages in rounds) for n in names}
    rows = (*TURN_1, "turn 1", *TURN_2, "turn 2", "question")
    print(f"| ms, median of {len(results['ours'])} | " + " | ".join(VARIANTS) + " |")
    print("|---|" + "---|" * len(VARIANTS))
    for row in rows:
        cells = [f"{median[v][row]:.0f}" if row in median[v] else "" for v in VARIANTS]
        print(f"| {row} | " + " | ".join(cells) + " |")
    print()
    ours, append, reference = (median[variant] for variant in VARIANTS)
    for label, theirs, row, target in (
        ("prefill 2 against transformers' append", append, "prefill 2", 1.9),
        ("turn 2 against transformers' append", append, "turn 2", 1.9),
        ("question against transformers' append", append, "question", None),
        ("turn 2 against two full generates", reference, "turn 2", None),
        ("question against two full generates", reference, "question", 2.7),
    ):
        wanted = f" (target {target})" if target else ""
        print(f"{label}: {theirs[row] / ours[row]:.2f}x{wanted}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work-dir", type=Path, required=True, help="for 2.6 GB of files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        serve(arguments.variant, arguments.work_dir, arguments.threads)
        return
    prepare(arguments.work_dir)
    report(measure(arguments.work_dir, arguments.threads, arguments.rounds))


if __name__ == "__main__":
    main()
