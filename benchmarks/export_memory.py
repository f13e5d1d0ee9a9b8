"""Peak memory of exporting a random checkpoint of 1.2B parameters, one process a precision.

python benchmarks/export_memory.py --work-dir DIR
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from random_checkpoint import LARGE, write_random_checkpoint

# Peak resident memory in GB that the project promises; at fp16 the promise is beyond the
# memory-mapped file, and nothing is mapped: the reader reads.
LIMITS = {"fp32": 3.5, "fp16": 2.5}


def export(work: Path, precision: str) -> None:
    """Export in this process; prints seconds and peak resident kB."""
    from awares_edge.export import export_checkpoint
    from awares_edge.protocol.profiles import get_profile

    start = time.perf_counter()
    profile = get_profile("paper")
    export_checkpoint(work / "checkpoint", work / precision, precision=precision, profile=profile)
    seconds = time.perf_counter() - start
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work-dir", type=Path, required=True, help="for 7.5 GB of files")
    parser.add_argument("--precision", choices=LIMITS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work = arguments.work_dir
    if arguments.precision:
        export(work, arguments.precision)
        return
    if not (work / "checkpoint").is_dir():
        write_random_checkpoint(work / "checkpoint", LARGE, "BF16")
    size = (work / "checkpoint" / "model.safetensors").stat().st_size
    print(f"checkpoint: {size / 2e9:.2f}B parameters, {size / 1e9:.2f} GB in bf16\n")
    print("| precision | bundle, GB | seconds | peak RSS, GB | limit, GB |")
    print("|---|---|---|---|---|")
    held = True
    for precision, limit in LIMITS.items():
        command = [sys.executable, __file__, "--work-dir", str(work), "--precision", precision]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds, peak = (float(value) for value in line.split())
        bundle = sum(file.stat().st_size for file in (work / precision).iterdir())
        shutil.rmtree(work / precision)
        row = (precision, f"{bundle / 1e9:.2f}", f"{seconds:.0f}", f"{peak / 1e6:.2f}", limit)
        print("| " + " | ".join(map(str, row)) + " |")
        held &= peak / 1e6 < limit
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
