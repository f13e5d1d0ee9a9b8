"""`awares-edge importance`: what a quantization should spare, measured on questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awares_edge.apps.console import print_json, progress_bar, say
from awares_edge.apps.demo import load_samples
from awares_edge.apps.options import JsonOption
from awares_edge.extras import require
from awares_edge.files import check_output
from awares_edge.protocol.profiles import get_profile

if TYPE_CHECKING:
    from awares_edge.calibration.importance import CalibrationQuestion

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
    checkpoint: Annotated[
        Path, typer.Argument(help="Hugging Face Qwen2.5-VL checkpoint folder (safetensors).")
    ],
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Questions, one JSON object a line. Default: the packaged samples; the more "
            "the questions are like yours, the better."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "importance.gguf"
    ),
    protocol: Annotated[
        str,
        typer.Option(help="Profile the model was trained with: a name, or a .toml or .json file."),
    ] = "paper",
    device: Annotated[
        str | None, typer.Option(help="Where torch computes: cpu, cuda, ... Default: the best.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure an importance matrix for `export --format gguf` on two-turn questions."""
    get_profile(protocol)
    check_output(output)
    require("an importance matrix", _NEEDS)
    from awares_edge.calibration.importance import measure, read_questions
    from awares_edge.export.gguf.importance import save_importance

    questions = _packaged() if data is None else read_questions(data)
    with progress_bar() as progress:
        measured = measure(
            checkpoint,
            questions,
            protocol=protocol,
            device=device,
            progress=lambda done: progress("asking", done, len(questions)),
        )
    dataset = data.name if data else "packaged samples"
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


def _packaged() -> list[CalibrationQuestion]:
    """Each packaged sample at low resolution and with every quadrant; noise where there is none."""
    from awares_edge.calibration.importance import CalibrationQuestion, noise_questions

    try:
        samples = load_samples()
    except OSError:
        return noise_questions()
    ways: tuple[tuple[str, ...], ...] = ((), ("0",), ("1",), ("2", "3"))
    return [CalibrationQuestion(s.path, s.question, crops) for s in samples for crops in ways]
