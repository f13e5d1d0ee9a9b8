"""What an evaluation costs besides the model's own time, and whether its memory grows with rows.

    python benchmarks/evaluation.py [--bundle DIR] [--questions 10000] [--workers 1] [--threads 1]

Asks synthetic questions as `awares-edge evaluate synth -o DIR` does, rows on disk included, and
prints resident memory along the way. The time outside the model is what is left after opening and
asking pictures: waiting for data and decoded pictures, scoring, writing rows. On a busy machine the
wall time of waiting measures the other programs; the asking thread's CPU time does not.
`--published DIR` asks a folder of ChartQA's parquet files in place of synthetic questions. Fails if
the last tenth's memory is over 2% above that after warming up.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge.evaluation.benchmarks import get_benchmark  # noqa: E402
from awares_edge.evaluation.run.folder import RowLog  # noqa: E402
from awares_edge.evaluation.run.runner import run_suite  # noqa: E402
from awares_edge.evaluation.suites import PublishedSuite, Selection, Suite, SynthSuite  # noqa: E402
from awares_edge.evaluation.suites.published import find_files  # noqa: E402
from benchmarks.soak import resident  # noqa: E402

WARM_UP, SAMPLES, LIMIT = 0.1, 40, 0.02


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="default: the embedded nano model")
    parser.add_argument("--published", help="folder of ChartQA's parquet files")
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.published:
        benchmark = get_benchmark("chartqa")
        suite: Suite = PublishedSuite(benchmark, find_files(benchmark, options.published))
    else:
        suite = SynthSuite(limit=options.questions)
    count = min(options.questions, suite.count)
    first = int(count * WARM_UP)
    step = max(1, (count - first) // SAMPLES)
    seen: list[int] = []

    def watch(done: int, total: int) -> None:
        if done >= first and (done - first) % step == 0:
            seen.append(resident())
        if done % max(1, total // 10) == 0:
            print(f"{done:6} questions: {resident() / 1e6:8.1f} MB", flush=True)

    selection = Selection(limit=count)
    with (
        tempfile.TemporaryDirectory() as folder,
        awares_edge.load(options.bundle, threads=options.threads) as model,
        RowLog(Path(folder), selection) as log,
    ):
        spent = run_suite(
            model, suite, "awares", log, selection, "0.7.2", workers=options.workers, progress=watch
        )
    tenth = max(1, len(seen) // 10)
    before, after = statistics.median(seen[:tenth]), statistics.median(seen[-tenth:])
    growth = after / before - 1
    wall, cpu = 1 - spent.model_s / spent.wall_s, 1 - spent.model_cpu_s / spent.cpu_s
    print(f"{spent.asked} questions in {spent.wall_s:.0f} s, {spent.cpu_s:.0f} s of CPU")
    print(f"outside the model: {cpu:.2%} of CPU time, {wall:.2%} of wall time")
    print(f"memory {before / 1e6:.1f} MB after warming up, {after / 1e6:.1f} MB at the end")
    return 0 if growth <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
