"""`awares-edge importance`: what a quantization should spare, measured on questions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from awares_edge.apps.console import print_json, progress_bar, say
from awares_edge.apps.options import (
    CheckpointArgument,
    JsonOption,
    RevisionOption,
    TrainedProtocol,
    find,
    noting,
    trained_profile,
)
from awares_edge.extras import require
from awares_edge.files import check_output

_NEEDS = {
    "torch": "awares-edge[torch]",
    "transformers": "awares-edge[torch]",
    "gguf": "awares-edge[gguf]",
}

EPILOG = """
Examples:

    awares-edge importance ./AWARES-Qwen2.5-VL-7B questions.jsonl -o importance.gguf

    awares-edge export ./AWARES-Qwen2.5-VL-7B -o awares-q4 --format gguf --precision q4_k_m
    --importance importance.gguf

A line of the file: `{"image": "a.png", "question": "What ...?", "crops": ["3"]}`. Without "crops"
the model chooses for itself; an empty list keeps it to the low-resolution view.
"""


def importance(
    checkpoint: CheckpointArgument,
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Questions, one JSON object a line, as much like yours as possible. Default: "
            "questions of the synthetic suite."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "importance.gguf"
    ),
    revision: RevisionOption = None,
    protocol: TrainedProtocol = None,
    device: Annotated[
        str | None, typer.Option(help="Where torch computes: cpu, cuda, ... Default: the best.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure an importance matrix for `export --format gguf` on two-turn questions."""
    check_output(output)
    require("an importance matrix", _NEEDS)
    from awares_edge.calibration.importance import measure_importance
    from awares_edge.calibration.questions import read_questions, synthetic_questions
    from awares_edge.export.gguf.importance import save_importance

    questions = synthetic_questions() if data is None else read_questions(data)
    source = find(checkpoint, revision)
    profile, choice = trained_profile(checkpoint, protocol)
    with progress_bar() as progress:
        update = noting(choice, progress)
        measured = measure_importance(
            source.path,
            questions,
            protocol=profile.name,
            device=device,
            progress=lambda done: update("asking", done, len(questions)),
        )
    dataset = data.name if data else "synthetic suite"
    save_importance(output, measured.sums, measured.counts, dataset)
    if json:
        print_json(
            {
                "file": str(output),
                "questions": len(questions),
                "tensors": len(measured.sums),
                "inputs": max(measured.counts.values()),
            }
        )
        return
    say(f"{output}: {len(measured.sums)} tensors, {len(questions)} questions")
