"""What the commands print: one style for all of them. Results go to stdout, the rest to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from awares_edge.bundle.store import Progress as ProgressCallback
from awares_edge.controller.trace import PHASES, Answer

# No emoji codes: row names such as "synth:train:0" would turn into pictures.
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout, without colours; control characters escaped, none lost."""
    text = json.dumps(value, ensure_ascii=False)
    print("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text), flush=True)


def printable(text: str) -> str:
    """Generated text without control characters, which could command a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def say(line: str) -> None:
    """A result on stdout, never wrapped: a path in two pieces cannot be copied."""
    out.print(printable(line), markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """A warning on stderr; it may quote data."""
    err.print(printable(line), style="yellow", markup=False, soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A progress bar on stderr, fed with (what, done, total); shown to terminals alone."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def update(what: str, done: int, total: int) -> None:
        # Started on first use: a bar without a task would print an empty line.
        bar.start()
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    try:
        yield update
    finally:
        if tasks:
            bar.stop()


@contextmanager
def verify_progress() -> Iterator[ProgressCallback]:
    """A progress bar for checking a bundle's files, gone as soon as it is done."""
    with progress_bar() as update:
        yield lambda _name, done, total: update("checking files", done, total)


def describe_path(answer: Answer) -> str:
    """How the answer came about: "direct", "zoomed: top-left", ..."""
    if answer.crops:
        return "zoomed: " + ", ".join(crop.name for crop in answer.crops)
    return {"full": "full resolution", "low": "low resolution"}.get(answer.mode, "direct")


def describe_tokens(answer: Answer) -> str:
    tokens = answer.visual_tokens
    used = tokens.low + tokens.crops
    return f"{used} of {tokens.full} visual tokens (RTR {answer.rtr:.2f})"


def describe_time(answer: Answer) -> str:
    sums = {phase: sum(turn.ms[phase] for turn in answer.turns) for phase in PHASES}
    phases = ", ".join(f"{phase} {ms:.1f}" for phase, ms in sums.items())
    return f"{answer.total_ms:.1f} ms ({phases})"
