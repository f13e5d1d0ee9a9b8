"""`awares-edge train nano`: the embedded model, from random weights or onwards."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from awares_edge.apps.console import err, progress_bar, say
from awares_edge.apps.train.options import RunOption, SmokeOption, amount, require_training
from awares_edge.errors import RuntimeUnavailable

SHOWN = (
    "loss", "glyph", "thing", "row", "column", "full presence", "full small", "locate", "call",
    "crop",
)  # fmt: skip
"""Scores printed during training."""


class Place(str, Enum):
    """Names for `--device`."""

    cpu = "cpu"
    cuda = "cuda"


def nano(
    output: RunOption,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Checkpoint folder or state file to begin from."),
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="Run this stage alone (may be repeated).")
    ] = None,
    minutes: Annotated[
        float | None,
        amount("Stop the run after that long; run again to go on."),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw pictures.")] = 1,
    device: Annotated[Place, typer.Option(help="Where to train.")] = Place.cpu,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="For every stage, in place of its own.")
    ] = None,
    ignore_gates: Annotated[
        bool, typer.Option("--ignore-gates", help="Go on where a stage ends below its gate.")
    ] = False,
    smoke: SmokeOption = False,
) -> None:
    """Train the embedded nano model: vision, then reading, then the policy.

    A run that was stopped goes on, bit for bit. `train curate`, `train sft` and `train grpo`
    take its checkpoint further.
    """
    require_training()
    import torch

    if device is Place.cuda and not torch.cuda.is_available():
        raise RuntimeUnavailable("no cuda here: torch sees no GPU")
    from awares_edge.training.nano.loop import LoopOptions
    from awares_edge.training.nano.recipe import RECIPE, NanoOptions, run_recipe
    from awares_edge.training.nano.recipe import smoke as shorten

    loop = LoopOptions(seconds=math.inf if minutes is None else 60 * minutes, workers=workers)
    if smoke:
        loop = LoopOptions(seconds=loop.seconds, log_every=4, save_every=8, workers=0)
    options = NanoOptions(
        output, start=start, only=tuple(stage or ()), seed=seed, ignore_gates=ignore_gates,
        compiled=not smoke, device=device.value, loop=loop,
    )  # fmt: skip
    with progress_bar() as update:

        def report(name: str, steps: int, line: dict[str, Any]) -> None:
            shown = "  ".join(f"{k} {line[k]:.3f}" for k in SHOWN if k in line)
            err.print(
                f"{name} {line['step']}/{steps}  {shown}".rstrip(), markup=False, soft_wrap=True
            )
            update(name, line["step"], steps)

        folder = run_recipe(shorten(RECIPE) if smoke else RECIPE, options, report)
    if folder is None:
        say(f"time is up; the same command goes on: {output}")
    else:
        say(f"written to {folder}; curves in {output}/*/curve.png")
