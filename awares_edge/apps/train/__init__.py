"""`awares-edge train`: curation, supervised fine-tuning, GRPO and weight averaging."""

from __future__ import annotations

import typer

from awares_edge.apps.train.convert import convert
from awares_edge.apps.train.curate import curate
from awares_edge.apps.train.tune import average, grpo, sft

app = typer.Typer(
    name="train",
    help="Train a Qwen2.5-VL checkpoint to decide when and where to look closer.",
    no_args_is_help=True,
)
for command in (curate, convert, sft, grpo, average):
    app.command(command.__name__)(command)
