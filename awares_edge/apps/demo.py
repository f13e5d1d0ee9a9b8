"""`awares-edge demo`: the embedded model on the packaged sample pictures."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeAlias

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
    refuse,
)
from awares_edge.apps.sheet import print_sheet
from awares_edge.apps.view import answer_panel, save_png
from awares_edge.apps.view import sheet as contact_sheet
from awares_edge.camera.sheet.pages import MOST_PAGES, Paper
from awares_edge.controller.trace import Answer
from awares_edge.evaluation.answers import is_right
from awares_edge.files import check_output

EPILOG = """
Examples:

    awares-edge demo

    awares-edge demo --output seen.png --json

    awares-edge demo --sheet sheet.pdf --pages 12 --seed 3 --paper letter
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


SheetOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        help="Write pages that the model can read from a camera, the answer key last, to this PDF "
        "file instead.",
        show_default=False,
    ),
]
PagesOption: TypeAlias = Annotated[
    int | None, typer.Option(min=1, max=MOST_PAGES, help="--sheet: number of pages. Default: 6.")
]
SeedOption: TypeAlias = Annotated[
    int | None, typer.Option(min=0, help="--sheet: seed of the pages. Default: 0.")
]
PaperOption: TypeAlias = Annotated[
    Paper | None, typer.Option(help="--sheet: paper to print on. Default: a4.")
]


def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="PNG that shows each answer.", show_default="awares-demo.png"
        ),
    ] = None,
    sheet: SheetOption = None,
    pages: PagesOption = None,
    seed: SeedOption = None,
    paper: PaperOption = None,
    bundle: BundleOption = None,
    runtime: RuntimeOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Answer the packaged sample pictures with the embedded nano model, and draw what it saw."""
    if sheet is not None:
        asking = {"output": output, "bundle": bundle, "runtime": runtime, "device": device}
        refuse("is not used with --sheet, which asks nothing", **asking, threads=threads)
        return print_sheet(sheet, pages or 6, seed or 0, paper or "a4", json=json)
    refuse("is for the sheet: give --sheet too", pages=pages, seed=seed, paper=paper)
    return _answer_samples(
        output or Path("awares-demo.png"), bundle, runtime, device, threads, json
    )


def _answer_samples(
    output: Path,
    bundle: Path | None,
    runtime: str | None,
    device: str | None,
    threads: int | None,
    json: bool,
) -> None:
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
    save_png(contact_sheet(panels), output)
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
