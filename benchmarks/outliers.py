"""What outlier channels do to quantized bundles, calibrated or not (docs/calibration.md).

    python benchmarks/outliers.py --work-dir DIR --questions 2000
    python benchmarks/outliers.py --work-dir DIR --questions 1000 --plain --budgets 3.2 4 5
    python benchmarks/outliers.py --work-dir DIR --questions 2000 --plain --gptq

Plants outliers into the nano checkpoint without changing what it computes (--plain: none), measures
it, exports it with and without the measurement, and compares each bundle with the fp32 one.
--budgets exports mixes instead, --gptq 4-bit bundles with and without GPTQ, both mixes with GPTQ.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from awares_edge.apps.cli import main as awares_edge  # noqa: E402
from tests.support.outliers import plant_outliers  # noqa: E402

PRECISIONS = ("int8", "int4", "int8+int4")
FOUR_BITS = {
    "int4": ("--precision", "int4"),
    "all-int4": ("--precision", "int4", "--keep", "visual.*=int4"),
}
HOW = {"": "", "-calibrated": "measured", "-gptq": "products"}


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
    measured = work / "measured.safetensors"
    sensitivity = ["--sensitivity", *(["--gptq"] if args.gptq else [])] if args.budgets else []
    run("calibrate", "weights", checkpoint, "-o", measured, "--protocol", "nano", *sensitivity)

    def export(name: str, *options: object) -> Path:
        run("export", checkpoint, "-o", work / name, "--protocol", "nano", *options)
        return work / name

    calibration = ("--calibration", measured)
    bundles = [
        export(f"mixed-{mb}", "--precision", "mixed", "--budget-mb", mb, *calibration)
        for mb in args.budgets
    ]
    if args.gptq and not args.budgets:
        products = work / "products.safetensors"
        run("calibrate", "weights", checkpoint, "-o", products, "--protocol", "nano", "--gptq")
        for name, options in FOUR_BITS.items():
            for how, given in HOW.items():
                file = {"measured": measured, "products": products}.get(given)
                calibrated = ("--calibration", file) if file else ()
                bundles.append(export(f"{name}{how}", *options, *calibrated))
    for precision in () if args.budgets or args.gptq else PRECISIONS:
        bundles.append(export(precision, "--precision", precision))
        calibrated = f"{precision}-calibrated"
        bundles.append(export(calibrated, "--precision", precision, *calibration))
    reference = export("fp32")
    limits = ("--limit", args.questions, "--probes", args.probes, "--threads", args.threads)
    # 1 where a bundle differs: that is what this shows.
    awares_edge(["parity", *map(str, (reference, *bundles, *limits))])


def run(*arguments: object) -> None:
    if code := awares_edge(list(map(str, arguments))):
        raise SystemExit(code)


if __name__ == "__main__":
    main()
