"""`awares-edge demo`: the embedded model on the packaged sample pictures."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from awares_edge.apps.console import (
    cell,
    describe_path,
    describe_time,
    describe_tokens,
    note,
    out,
    print_json,
    say,
)
from awares_edge.apps.options import (
    BundleOption,
    DeviceOption,
    JsonOption,
    RuntimeOption,
    ThreadsOption,
    load_model,
)
from awares_edge.apps.view import answer_panel, save_png, sheet
from awares_edge.controller.trace import Answer
from awares_edge.evaluation.answers import is_right
from awares_edge.files import check_output

EPILOG = """
Examples:

    awares-edge demo

    awares-edge demo --output seen.png --json
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """A packaged picture with a question and its true answer."""

    path: Path
    question: str
    expected: str


def load_samples() -> list[Sample]:
    """The packaged samples."""
    root = Path(str(files("awares_edge") / "assets" / "samples"))
    rows = jsonlib.loads((root / "samples.json").read_text(encoding="utf-8"))
    return [Sample(root / row["file"], row["question"], row["expected"]) for row in rows]


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="PNG that shows each answer.")
    ] = Path("awares-demo.png"),
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Answer the packaged sample pictures with the embedded nano model, and draw what it saw."""
    check_output(output)
    answers, panels = [], []
    samples = load_samples()
    with load_model(bundle, runtime, None, device, threads, None) as model:
        # The first question of a process pays for the runtime's own start.
        model.ask(samples[0].path, samples[0].question)
        for sample in samples:
            with model.open(sample.path) as picture:
                answer = picture.ask(sample.question)
                panels.append(answer_panel(picture, sample.question, answer))
            answers.append(answer)
        runtime_name, precision = model.runtime.name, model.runtime.precision
    if json:
        print_json([_row(*pair) for pair in zip(samples, answers, strict=True)])
    else:
        for sample, answer in zip(samples, answers, strict=True):
            _print(sample, answer)
    save_png(sheet(panels), output)
    if json:
        return
    mean = sum(answer.rtr for answer in answers) / len(answers)
    correct = sum(is_right(a.text, s.expected) for s, a in zip(samples, answers, strict=True))
    note(
        f"{correct} of {len(samples)} right at a mean RTR of {mean:.2f} "
        f"({runtime_name}, {precision}); picture written to {output}",
        style=None,
    )


def _row(sample: Sample, answer: Answer) -> dict[str, Any]:
    about = {"image": sample.path.name, "question": sample.question, "expected": sample.expected}
    return {**about, **answer.to_dict()}


def _print(sample: Sample, answer: Answer) -> None:
    """A few lines that fit any terminal."""
    right = is_right(answer.text, sample.expected)
    mark = cell("✓", "green") if right else cell(f"✗ it is {sample.expected}", "red")
    out.print(Text.assemble(cell(sample.path.stem, "bold"), ": ", cell(sample.question)))
    out.print(Text.assemble("  ", cell(answer.text, "bold cyan"), " ", mark))
    say(f"  {describe_path(answer)}, {describe_tokens(answer)}", style="dim")
    say(f"  {describe_time(answer)}", style="dim")
