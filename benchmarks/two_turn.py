"""A two-turn question on each runtime and precision, one process each, side by side.

    reference  transformers, fp32: what the published code does, two full `generate` calls
    append     transformers, fp32: kept KV cache, explicit positions, the rest as it comes
    fp32, int8, int8+int4, int4, w8a8
               the onnx runtime: kept KV cache, drafted call, shared system prompt
    q8_0       the llamacpp runtime, the same way

The processes take turns, so that whatever else the machine does meets all of them alike. Times are
CPU time (`time.process_time`): on a busy machine wall time measures the other work. A later
question is one about the same picture that zooms to the same places: the view's KV and the crops'
features are kept.

    python benchmarks/two_turn.py --work-dir DIR [--variants ...] [--rounds 5]
    python benchmarks/two_turn.py --work-dir DIR --scaling [--variants int8 int8+int4]

`--scaling` compares the wall time of one thread and of two, and needs two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from random_checkpoint import TWO_TURN, write_random_checkpoint
from two_turn_question import ONNX, REFERENCE, VARIANTS, open_variant

TURN_1, TURN_2 = ("vision 1", "prefill 1", "call"), ("vision 2", "prefill 2", "answer")
ROWS = (*TURN_1, *TURN_2, "question", "later question")
# (variant, row, against, row, at least)
PROMISES = (
    ("int8", "question", REFERENCE, "question", 3.4),
    ("int8", "question", "q8_0", "question", 2.5),
    ("int8+int4", "question", REFERENCE, "question", 3.7),
    ("int8+int4", "later question", REFERENCE, "question", 9.0),
    ("fp32", "question", REFERENCE, "question", None),
    ("int4", "question", REFERENCE, "question", None),
    ("fp32", "question", "append", "question", None),
)


def memory() -> dict[str, float]:
    """MB of this process: resident, and the part of it that no file backs."""
    sizes = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        sizes[name] = int(size) / 1e3
    return {"resident": sizes["Rss:"], "anonymous": sizes["Anonymous:"]}


def serve(variant: str, work: Path, threads: int) -> None:
    """A worker: one question for each line on standard input."""
    if variant in (REFERENCE, "append"):
        import torch

        torch.set_num_threads(threads)
    ask = open_variant(variant, work, threads)
    print(json.dumps(memory()), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        stages = ask()
        wall = (time.perf_counter() - start) * 1e3
        print(json.dumps({"stages": stages, "wall": wall, "memory": memory()}), flush=True)


def prepare(work: Path, variants: tuple[str, ...]) -> None:
    """The random checkpoint and our bundles of it, made once."""
    from awares_edge.export import OnnxFormat, export_checkpoint
    from awares_edge.protocol.profiles import get_profile

    if not (work / "checkpoint").is_dir():
        write_random_checkpoint(work / "checkpoint", TWO_TURN, "F32")
    for name in variants:
        if name in (REFERENCE, "append") or (work / name).is_dir():
            continue
        format: str | OnnxFormat = "onnx" if name in ONNX else "gguf"
        if name == "w8a8":
            format = OnnxFormat(name, calibration=calibration_file(work))
        profile = get_profile("paper")
        export_checkpoint(
            work / "checkpoint", work / name, format=format, precision=name, profile=profile
        )


def calibration_file(work: Path) -> Path:
    """A calibration file of the random checkpoint, on as few questions as there may be."""
    from awares_edge.calibration.questions import synthetic_questions
    from awares_edge.calibration.weights import measure_weights

    file = work / "measured.safetensors"
    questions = synthetic_questions(8)
    measure_weights(work / "checkpoint", questions, dataset="synthetic suite").save(file)
    return file


class Worker:
    """A process that answers questions with one variant.

    Attributes:
        loaded: its memory before the first question.
        results: of each question after the first, which warms it up.
    """

    def __init__(self, variant: str, work: Path, threads: int) -> None:
        command = [sys.executable, __file__, "--variant", variant, "--work-dir", str(work)]
        self._process = subprocess.Popen(
            [*command, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"},
            text=True,
        )
        self.results: list[dict[str, Any]] = []
        self.loaded: dict[str, float] = self._read()
        self._warm = False

    def ask(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("ask\n")
        self._process.stdin.flush()
        result = self._read()
        if self._warm:
            self.results.append(result)
        self._warm = True

    def median(self, row: str) -> float | None:
        """Median milliseconds of a stage, or of a sum of stages."""
        rows = [_with_sums(result["stages"]) for result in self.results]
        return statistics.median(stages[row] for stages in rows) if row in rows[0] else None

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a worker stopped: its error is above")
        return json.loads(line)


def _with_sums(stages: dict[str, float]) -> dict[str, float]:
    first_time = {name: ms for name, ms in stages.items() if name != "later question"}
    return {**stages, "question": sum(first_time.values())}


def measure(work: Path, runs: dict[str, tuple[str, int]], rounds: int) -> dict[str, Worker]:
    """Ask each run (variant, threads) `rounds` questions after a warm-up, taking turns."""
    workers = {name: Worker(variant, work, threads) for name, (variant, threads) in runs.items()}
    for _ in range(rounds + 1):
        for worker in workers.values():
            worker.ask()
    for worker in workers.values():
        worker.close()
    return workers


def report(workers: dict[str, Worker], rounds: int) -> None:
    """Medians by stage, memory, and the ratios that the project promises."""
    print(f"| CPU ms, median of {rounds} | " + " | ".join(workers) + " |")
    print("|---|" + "---|" * len(workers))
    for row in ROWS:
        medians = (worker.median(row) for worker in workers.values())
        cells = ["" if ms is None else f"{ms:.0f}" for ms in medians]
        print(f"| {row} | " + " | ".join(cells) + " |")
    for kind in ("resident", "anonymous"):
        for when in ("loaded", "after questions"):
            sizes = (
                (w.loaded if when == "loaded" else w.results[-1]["memory"])[kind]
                for w in workers.values()
            )
            print(f"| MB {kind}, {when} | " + " | ".join(f"{size:.0f}" for size in sizes) + " |")
    print()
    for ours, row, theirs, their_row, least in PROMISES:
        if ours in workers and theirs in workers:
            a, b = workers[ours].median(row), workers[theirs].median(their_row)
            assert a is not None
            assert b is not None
            wanted = f" (at least {least})" if least else ""
            print(f"{ours}, {row}, against {theirs}: {b / a:.2f}x{wanted}")


def report_scaling(workers: dict[str, Worker]) -> None:
    """Wall time on one thread and on two: the shortest of all rounds."""
    best = {name: min(r["wall"] for r in worker.results) for name, worker in workers.items()}
    for name in [name for name in best if name.endswith(" x1")]:
        one, two = best[name], best[name.removesuffix("1") + "2"]
        variant = name.removesuffix(" x1")
        print(f"{variant}: {one:.0f} ms on one thread, {two:.0f} on two: {one / two:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work-dir", type=Path, required=True, help="for 4 GB of files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--scaling", action="store_true", help="one thread against two")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = options.work_dir
    if options.variant:
        serve(options.variant, work, options.threads)
        return
    prepare(work, options.variants)
    if options.scaling:
        runs = {f"{v} x{n}": (v, n) for v in options.variants for n in (1, 2)}
        report_scaling(measure(work, runs, options.rounds))
    else:
        runs = {variant: (variant, options.threads) for variant in options.variants}
        report(measure(work, runs, options.rounds), options.rounds)


if __name__ == "__main__":
    main()
