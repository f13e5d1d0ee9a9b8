"""What breaks AwaRes behaviour, and by how much: three studies on the nano model.

    python benchmarks/robustness.py judge-errors -o runs/labels   # wrong labels before SFT
    python benchmarks/robustness.py granularity                   # finer sets of crops
    python benchmarks/robustness.py shift                         # layouts and pictures never seen

Each prints a Markdown table; docs/robustness.md holds one run of each and what it says.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    robustness_granularity,
    robustness_labels,
    robustness_shift,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    studies = parser.add_subparsers(dest="study", required=True)
    modules = {
        "judge-errors": robustness_labels,
        "granularity": robustness_granularity,
        "shift": robustness_shift,
    }
    for name, module in modules.items():
        study = studies.add_parser(name, help=(module.__doc__ or "").splitlines()[0])
        module.add_arguments(study)
        study.set_defaults(run=module.run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
