"""Mixes within budgets of milliseconds: estimated against measured (docs/calibration.md).

    python benchmarks/budgets.py CHECKPOINT MEASURED --protocol paper --work-dir DIR --ms 1400 1800

MEASURED is a file of `awares-edge calibrate weights --sensitivity`. Exports int8, measures this
machine's times on it, exports a mix for each budget (what is there already is kept), and asks all
bundles two-turn questions in turn. Times are CPU time on one thread.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from awares_edge.apps.cli import main as awares_edge  # noqa: E402
from awares_edge.bundle import Bundle  # noqa: E402
from awares_edge.calibration.times import ask_questions, stored_formats  # noqa: E402
from awares_edge.export.times import read_times  # noqa: E402

UNIFORM = ("int8", "int4", "fp32")
QUESTIONS = 3
"""To each bundle in each round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("measured", type=Path)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--ms", nargs="*", default=[], help="Budgets of mixes.")
    parser.add_argument("--mb", help="Most MB of each mix.")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)

    def export(name: str, *options: object) -> Path:
        made: Path = args.work_dir / name
        if not made.exists():
            run("export", args.checkpoint, "-o", made, "--protocol", args.protocol, *options)
        return made

    bundles = [export(name, "--precision", name) for name in UNIFORM]
    times = args.work_dir / "times.json"
    if not times.exists():
        run("calibrate", "times", bundles[0], "-o", times, "--threads", 1)
    mixed = ("--precision", "mixed", "--calibration", args.measured, "--times", times)
    for ms in args.ms:
        limits = ("--budget-ms", ms, *(("--budget-mb", args.mb) if args.mb else ()))
        bundles.append(export(f"mixed-{ms}", *mixed, *limits))
    report(bundles, times, args.rounds)


def report(bundles: list[Path], times: Path, rounds: int) -> None:
    """One row a bundle: MB of weights, estimated and measured milliseconds."""
    opened = [Bundle.open(path, verify=False) for path in bundles]
    measured = [
        [ask_questions(bundle, 1, QUESTIONS)[0] for bundle in opened] for _ in range(rounds)
    ]
    print("| bundle | MB of weights | estimated ms | measured ms | off |\n|---|---|---|---|---|")
    for bundle, ms in zip(opened, map(median, zip(*measured, strict=True)), strict=True):
        files = bundle.manifest.files
        names = ("embedding.npy", "vision.data", "text.data")
        size = sum(files[name].bytes for name in names) / 1e6
        found = read_times(times, bundle.manifest.model).estimate(stored_formats(bundle))
        print(
            f"| {bundle.root.name} | {size:.1f} | {found:.1f} | {ms:.1f} | {ms / found - 1:+.1%} |"
        )


def run(*arguments: object) -> None:
    if code := awares_edge(list(map(str, arguments))):
        raise SystemExit(code)


if __name__ == "__main__":
    main()
