"""`awares-edge calibrate weights`: what goes into each matrix of a checkpoint, for its exports."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awares_edge.apps.console import note, print_json, progress_bar, say
from awares_edge.apps.options import (
    AdapterRevisionOption,
    CheckpointArgument,
    JsonOption,
    RevisionOption,
    TrainedProtocol,
    check_adapter,
    find,
    find_adapter,
    noting,
    trained_profile,
)
from awares_edge.bundle.store import Progress
from awares_edge.checkpoint.source import Source
from awares_edge.errors import InputError
from awares_edge.extras import require
from awares_edge.files import check_output

if TYPE_CHECKING:
    from awares_edge.calibration.questions import CalibrationQuestion
    from awares_edge.export.measured import Measured

_GPTQ_LIMIT = 4096
_NEEDS = dict.fromkeys(("torch", "transformers", "safetensors"), "awares-edge[torch]")
_QUANTIZING = dict.fromkeys(("onnx", "threadpoolctl"), "awares-edge[export]")

EPILOG = """
Examples:

    awares-edge calibrate weights ./AWARES-Qwen2.5-VL-7B questions.jsonl -o measured.safetensors

    awares-edge export ./AWARES-Qwen2.5-VL-7B -o awares-int4 --precision int4
    --calibration measured.safetensors

    awares-edge calibrate weights ./AWARES-Qwen2.5-VL-7B questions.jsonl -o gptq.safetensors --gptq

    awares-edge calibrate weights ./AWARES-Qwen2.5-VL-3B -o measured.safetensors --sensitivity

    awares-edge export ./AWARES-Qwen2.5-VL-3B -o awares-mix --precision mixed --budget-mb 2600
    --calibration measured.safetensors

A line of the file: `{"image": "a.png", "question": "What ...?", "crops": ["3"]}`. Without "crops"
the model chooses for itself; an empty list keeps it to the low-resolution view.
"""

SensitivityOption = Annotated[
    bool,
    typer.Option(
        "--sensitivity",
        help="Also measure how far decisions move where one matrix alone is quantized, for "
        "`export --precision mixed`. Asks 8 questions some 10 times for each layer.",
    ),
]
GptqOption = Annotated[
    bool,
    typer.Option(
        "--gptq",
        help="Also measure the products of all pairs of inputs, by which ONNX exports choose 4-bit "
        "numbers. Takes gigabytes of memory and disk for a large model.",
    ),
]
GptqLimitOption = Annotated[
    int | None,
    typer.Option(
        help=f"With --gptq: most inputs of a matrix; wider ones are left out. Default: "
        f"{_GPTQ_LIMIT}. Memory grows with the square.",
        min=32,
        max=65536,
        show_default=False,
    ),
]


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
    adapter_revision: AdapterRevisionOption = None,
    sensitivity: SensitivityOption = False,
    gptq: GptqOption = False,
    gptq_limit: GptqLimitOption = None,
    protocol: TrainedProtocol = None,
    device: Annotated[
        str | None, typer.Option(help="Where torch computes: cpu, cuda, ... Default: the best.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure what goes into each matrix of a checkpoint, for `export --calibration`."""
    check_output(output)
    if gptq_limit is not None and not gptq:
        raise InputError("--gptq-limit is for --gptq: give both, or leave it out")
    require("calibration", _NEEDS | (_QUANTIZING if sensitivity else {}))
    check_adapter(adapter, adapter_revision)
    from awares_edge.calibration.hessians import too_wide
    from awares_edge.calibration.questions import read_questions, synthetic_questions

    questions = synthetic_questions() if data is None else read_questions(data)
    source = find(checkpoint, revision)
    added = find_adapter(adapter, adapter_revision)
    profile, choice = trained_profile(checkpoint, protocol)
    how = {"adapter": added and added.path, "protocol": protocol or profile.name, "device": device}
    limit = (gptq_limit or _GPTQ_LIMIT) if gptq else 0
    dataset = data.name if data else "synthetic suite"
    with progress_bar() as progress:
        update = noting(choice, progress)
        measured = _measure(source, questions, dataset, limit, sensitivity, update, how)
    measured.save(output)
    _report(output, measured, json)
    if gptq and not json and (wide := too_wide(measured)):
        note(
            f"exports round {len(wide)} layers without GPTQ, such as {wide[0]}: they have more "
            f"than {limit} inputs; a larger --gptq-limit includes them"
        )


def _report(output: Path, measured: Measured, json: bool) -> None:
    asked, zoomed, layers = measured.origin.questions, measured.origin.zoomed, len(measured.inputs)
    if json:
        counts = {"questions": asked, "zoomed": zoomed, "layers": layers}
        more = {"sensitivity": bool(measured.drifts), "gptq": len(measured.hessians)}
        print_json({"file": str(output), **counts, **more})
        return
    say(f"{output}: {layers} layers, {asked} questions, {zoomed} of them in two turns")
    if not zoomed:
        note('no question had a second turn: give "crops" in the file, or crops are not covered')


def _measure(
    source: Source,
    questions: list[CalibrationQuestion],
    dataset: str,
    hessian_limit: int,
    sensitivity: bool,
    update: Progress,
    how: dict[str, Any],
) -> Measured:
    from awares_edge.calibration.sensitivity import measure_drifts
    from awares_edge.calibration.weights import measure_weights

    asking = partial(update, "asking")
    measured = measure_weights(
        *(source.path, questions),
        dataset=dataset,
        name=source.name,
        hessian_limit=hessian_limit,
        progress=lambda done: asking(done, len(questions)),
        **how,
    )
    if not sensitivity:
        return measured
    quantizing = partial(update, "quantizing one matrix at a time")
    return measure_drifts(source.path, questions, measured, progress=quantizing, **how)
