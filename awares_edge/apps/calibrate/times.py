"""`awares-edge calibrate times`: how long each matrix takes here, for `export --budget-ms`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awares_edge.apps.calibrate.options import BundleArgument
from awares_edge.apps.console import print_json, progress_bar, say, verify_progress
from awares_edge.apps.options import JsonOption, ThreadsOption
from awares_edge.bundle.store import Bundle
from awares_edge.extras import require
from awares_edge.files import check_output

if TYPE_CHECKING:
    from awares_edge.export.times import Times

EPILOG = """
Examples, the first one on the device:

    awares-edge calibrate times awares-int8 -o times.json

    awares-edge export ./AWARES-Qwen2.5-VL-3B -o awares-mix --precision mixed --budget-ms 4000
    --times times.json --calibration measured.safetensors

The question is that of `awares-edge profile --mode awares`: two turns, two crops, an answer of 16
tokens. Let nothing else compute meanwhile.
"""


def measure(
    bundle: BundleArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "times.json"
    ),
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure what each matrix of an ONNX bundle costs on this device in each format."""
    check_output(output)
    require("measuring times", {"onnx": "awares-edge[export]"})
    from awares_edge.calibration.times import measure_times

    with verify_progress() as progress:
        opened = Bundle.open(bundle, progress=progress)
    with progress_bar() as update:
        times = measure_times(
            opened, threads=threads, progress=partial(update, "multiplying by matrices")
        )
    times.save(output)
    estimates = _estimates(times)
    if json:
        facts = {key: value for key, value in asdict(times).items() if key != "matrices"}
        print_json({"file": str(output), **facts, "estimates": estimates})
        return
    say(f"{output}: {len(times.matrices)} matrices on {times.cpu}, threads: {times.threads}")
    say(f"a two-turn question takes {times.question_ms:.1f} ms at {times.precision}")
    say(f"{times.rest_ms:.1f} ms of it are the same in every mix")
    say("estimated: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in estimates.items()))


def _estimates(times: Times) -> dict[str, float]:
    """Milliseconds of a two-turn question with all matrices in one format, and in the fastest."""
    mixes = {
        **{kind: dict.fromkeys(times.matrices, kind) for kind in ("fp16", "int8", "int4")},
        "fastest mix": {name: matrix.fastest for name, matrix in times.matrices.items()},
    }
    return {name: times.estimate(mix) for name, mix in mixes.items()}
