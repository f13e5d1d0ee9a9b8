"""What outlier channels do to quantized bundles, calibrated or not (docs/calibration.md).

    python benchmarks/outliers.py --work-dir DIR --questions 2000
    python benchmarks/outliers.py --work-dir DIR --questions 1000 --plain --budgets 3.2 4 5
    python benchmarks/outliers.py --work-dir DIR --questions 2000 --plain --gptq

Plants outliers into the nano checkpoint without changing what it computes (--plain: none), measures
it, exports it with and without the measurement, and compares each bundle with the fp32 one.
--gptq exports 4-bit bundles instead, with GPTQ too; --budgets exports mixes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from awares_edge.apps.cli import main as awares_edge  # noqa: E402
from tests.support.outliers import plant_outliers  # noqa: E402

PRECISIONS = ("int8", "int4", "int8+int4", "w8a8")
FOUR_BITS = {
    "int4": ("--precision", "int4"),
    "all-int4": ("--precision", "int4", "--keep", "visual.*=int4"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--plain", action="store_true", help="Plant no outliers.")
    parser.add_argument("--budgets", nargs="*", default=[], help="MB of mixes.")
    parser.add_argument("--gptq", action="store_true", help="4-bit bundles with GPTQ.")
    parser.add_argument("--probes", type=int, default=16, help="Questions of which logits count.")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    work = args.work_dir
    work.mkdir(parents=True)
    checkpoint = ROOT / "checkpoints" / "nano"
    if not args.plain:
        checkpoint = plant_outliers(checkpoint, work / "planted")
    more = ("--sensitivity",) if args.budgets else ()
    calibrations: dict[str, tuple[object, ...]] = {} if args.budgets else {"": ()}
    for how, options in {"calibrated": (), **({"gptq": ("--gptq",)} if args.gptq else {})}.items():
        file = work / f"{how}.safetensors"
        run("calibrate", "weights", checkpoint, "-o", file, "--protocol", "nano", *more, *options)
        calibrations[f"-{how}"] = ("--calibration", file)

    def export(name: str, *options: object) -> Path:
        run("export", checkpoint, "-o", work / name, "--protocol", "nano", *options)
        return work / name

    kinds = FOUR_BITS if args.gptq else {name: ("--precision", name) for name in PRECISIONS}
    if args.budgets:
        mixed = ("--precision", "mixed", "--budget-mb")
        kinds = {f"mixed-{mb}": (*mixed, mb) for mb in args.budgets}
    bundles = [
        export(f"{kind}{how}", *options, *calibration)
        for kind, options in kinds.items()
        for how, calibration in calibrations.items()
        if calibration or kind != "w8a8"  # needs one
    ]
    reference = export("fp32")
    limits = ("--limit", args.questions, "--probes", args.probes, "--threads", args.threads)
    # 1 where a bundle differs: that is what this shows.
    awares_edge(["parity", *map(str, (reference, *bundles, *limits))])


def run(*arguments: object) -> None:
    if code := awares_edge(list(map(str, arguments))):
        raise SystemExit(code)


if __name__ == "__main__":
    main()
