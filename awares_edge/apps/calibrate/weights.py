"""`awares-edge calibrate weights`: what goes into each matrix of a checkpoint, for its exports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from awares_edge.apps.console import note, print_json, progress_bar, say
from awares_edge.apps.options import (
    CheckpointArgument,
    JsonOption,
    RevisionOption,
    TrainedProtocol,
    find,
    noting,
    trained_profile,
)
from awares_edge.errors import InputError
from awares_edge.extras import require
from awares_edge.files import check_output

_NEEDS = dict.fromkeys(("torch", "transformers", "safetensors"), "awares-edge[torch]")

EPILOG = """
Examples:

    awares-edge calibrate weights ./AWARES-Qwen2.5-VL-7B questions.jsonl -o measured.safetensors

    awares-edge export ./AWARES-Qwen2.5-VL-7B -o awares-int4 --precision int4
    --calibration measured.safetensors

A line of the file: `{"image": "a.png", "question": "What ...?", "crops": ["3"]}`. Without "crops"
the model chooses for itself; an empty list keeps it to the low-resolution view.
"""


def measure(
    checkpoint: CheckpointArgument,
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Questions, one JSON object a line, as much like yours as possible. Default: "
            "questions of the synthetic suite."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "measured.safetensors"
    ),
    adapter: Annotated[
        str | None,
        typer.Option(help="LoRA adapter (PEFT) of the export: a folder, or OWNER/NAME."),
    ] = None,
    revision: RevisionOption = None,
    adapter_revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of an adapter on the hub.")
    ] = None,
    protocol: TrainedProtocol = None,
    device: Annotated[
        str | None, typer.Option(help="Where torch computes: cpu, cuda, ... Default: the best.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure what goes into each matrix of a checkpoint, for `export --calibration`."""
    check_output(output)
    require("calibration", _NEEDS)
    if adapter is None and adapter_revision is not None:
        raise InputError("--adapter-revision needs --adapter")
    from awares_edge.calibration.questions import read_questions, synthetic_questions
    from awares_edge.calibration.weights import measure_weights

    questions = synthetic_questions() if data is None else read_questions(data)
    source = find(checkpoint, revision)
    added = None if adapter is None else find(adapter, adapter_revision, "adapter").path
    profile, choice = trained_profile(checkpoint, protocol)
    with progress_bar() as progress:
        update = noting(choice, progress)
        measured = measure_weights(
            source.path,
            questions,
            adapter=added,
            dataset=data.name if data else "synthetic suite",
            name=source.name,
            protocol=profile.name if protocol is None else protocol,
            device=device,
            progress=lambda done: update("asking", done, len(questions)),
        )
    measured.save(output)
    zoomed, layers = measured.origin.zoomed, len(measured.inputs)
    if json:
        counts = {"questions": len(questions), "zoomed": zoomed, "layers": layers}
        print_json({"file": str(output), **counts})
        return
    say(f"{output}: {layers} layers, {len(questions)} questions, {zoomed} of them in two turns")
    if not zoomed:
        note('no question had a second turn: give "crops" in the file, or crops are not covered')
