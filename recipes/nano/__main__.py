"""`python -m recipes.nano`: train the nano model, from random weights or from a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from awares_edge.apps.console import err, printable, progress_bar, say
from awares_edge.apps.train.options import RunOption, SmokeOption, amount, require_training
from awares_edge.errors import AwaresError, RuntimeUnavailable
from awares_edge.files import check_output_folder

SHOWN = (
    "loss", "glyph", "thing", "row", "column", "full presence", "full small", "locate", "call",
    "crop",
)  # fmt: skip
"""Scores printed during training; `metrics.jsonl` has all of them."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Device(str, Enum):
    """Values of `--device`."""

    cpu = "cpu"
    cuda = "cuda"


@app.command()
def nano(
    output: RunOption,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Checkpoint folder or state.pt to start from."),
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="Run this stage only (may be repeated).")
    ] = None,
    minutes: Annotated[
        float | None,
        amount("Stop after that many minutes; run the same command again to continue."),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw pictures.")] = 1,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.cpu,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Replaces the seed of every stage.")
    ] = None,
    ignore_gates: Annotated[
        bool, typer.Option("--ignore-gates", help="Continue when a stage ends below its gates.")
    ] = False,
    smoke: SmokeOption = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the full traceback of an error.")
    ] = False,
) -> None:
    """Train the embedded nano model: vision, then reading, then the policy.

    An interrupted run resumes bit for bit. `awares-edge train curate`, `sft` and `grpo` can train
    its checkpoint further.
    """
    with one_line_errors(debug):
        require_training()
        check_output_folder(output)
        import torch

        from recipes.nano.loop import LoopOptions
        from recipes.nano.run import NanoOptions, run_recipe
        from recipes.nano.stages import RECIPE, smoke_sized

        if device is Device.cuda and not torch.cuda.is_available():
            raise RuntimeUnavailable("torch finds no CUDA device")
        loop = LoopOptions(seconds=math.inf if minutes is None else 60 * minutes, workers=workers)
        if smoke:
            loop = LoopOptions(seconds=loop.seconds, log_every=4, save_every=8, workers=0)
        options = NanoOptions(
            output, start=start, only=tuple(stage or ()), seed=seed, ignore_gates=ignore_gates,
            compiled=not smoke, device=device.value, loop=loop,
        )  # fmt: skip
        with progress_bar() as update:
            recipe = smoke_sized(RECIPE) if smoke else RECIPE
            folder = run_recipe(recipe, options, print_scores(update))
    if folder is None:
        say(f"time is up; run the same command again to continue: {output}")
    else:
        say(f"written to {folder}; curves are in {output}/*/curve.png")


def print_scores(
    update: Callable[[str, int, int], None],
) -> Callable[[str, int, dict[str, Any]], None]:
    """A report for `run_recipe` that prints each log line and moves the progress bar."""

    def report(name: str, steps: int, line: dict[str, Any]) -> None:
        shown = "  ".join(f"{k} {line[k]:.3f}" for k in SHOWN if k in line)
        text = f"{name} {line['step']}/{steps}  {shown}".rstrip()
        err.print(text, markup=False, soft_wrap=True)
        update(name, line["step"], steps)

    return report


@contextmanager
def one_line_errors(debug: bool) -> Iterator[None]:
    """Turn an error that a user can cause into one line on stderr and exit code 2."""
    try:
        yield
    except (AwaresError, OSError) as error:
        if debug:
            raise
        typer.echo(f"nano: {printable(' '.join(str(error).split()))}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app(prog_name="python -m recipes.nano")
