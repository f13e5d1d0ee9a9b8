"""What the commands print: one style for all of them. Results go to stdout, the rest to stderr.

Untrusted text (names, answers, any value of a bundle) is printed only through `printable`, and
never as Rich markup: by `show_answer`, `say`, `note`, `warn` and `cell`.
"""

from __future__ import annotations

import json
import sys
import unicodedata
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
from rich.text import Text

from awares_edge.bundle.store import Progress as ProgressCallback
from awares_edge.controller.trace import PHASES, Answer

# No emoji codes: row names such as "synth:train:0" would turn into pictures.
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout, without colours.

    Control characters are escaped, and what the terminal's character set lacks: nothing is lost.
    """
    text = json.dumps(value, ensure_ascii=False)
    encoding = sys.stdout.encoding or "utf-8"
    print("".join(c if _goes_through(c, encoding) else json.dumps(c)[1:-1] for c in text))


def _goes_through(character: str, encoding: str) -> bool:
    if character.isascii():
        return character.isprintable()
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return character.isprintable()


def printable(text: str, keep: str = "") -> str:
    """Untrusted text in a form that cannot command a terminal or break a line.

    Control and format characters (escapes, line ends, bidi overrides, private and lone surrogate
    code points) become escapes as Python writes them: `\\x1b`, `\\u202e`. All spaces stay, and the
    joiners that Persian and Indic text needs.

    Args:
        keep: control characters that stay.
    """
    return "".join(c if c in keep or _is_harmless(c) else _escape(c) for c in text)


def _is_harmless(character: str) -> bool:
    return (
        character.isprintable()
        or unicodedata.category(character) == "Zs"
        or character in "\u200c\u200d"
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def show_answer(text: str, end: str = "\n") -> None:
    """Generated text on stdout, its line ends kept."""
    print(printable(text, keep="\n\t"), end=end, flush=True)


def say(line: str, style: str | None = None) -> None:
    """A line of results on stdout, never wrapped: a path in two pieces cannot be copied."""
    out.print(printable(line), style=style, markup=False, soft_wrap=True)


def note(line: str, style: str | None = "dim") -> None:
    """A line on stderr about how it went."""
    err.print(printable(line), style=style, markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """A warning on stderr."""
    note(line, style="yellow")


def cell(text: str, style: str = "") -> Text:
    """Text for a cell of a table."""
    return Text(printable(text), style=style)


@contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A progress bar on stderr, fed with (what, done, total); shown only on terminals."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def update(what: str, done: int, total: int) -> None:
        if not err.is_terminal:
            return
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
    # Not every server says how long its phases took.
    unknown = {name for turn in answer.turns for name in turn.unreported}
    sums = {phase: ms for phase, ms in sums.items() if phase not in unknown}
    phases = ", ".join(f"{phase} {ms:.1f}" for phase, ms in sums.items())
    return f"{answer.total_ms:.1f} ms ({phases})"
