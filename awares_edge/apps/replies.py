"""What `ask` and `chat` print of an answer: the answer on stdout, how it came about on stderr."""

from __future__ import annotations

from collections.abc import Iterable

from awares_edge.apps.console import (
    describe_path,
    describe_time,
    describe_tokens,
    err,
    note,
    printable,
    show_answer,
    warn,
)
from awares_edge.controller.trace import (
    Answer,
    CropsRequested,
    Event,
    ReasoningDelta,
    TextDelta,
    ZoomedCrop,
)


def follow(events: Iterable[Event]) -> Answer:
    """Print a stream as it comes: its answer, its reasoning dimmed, its crops by name."""
    thinking = False
    for event in events:
        if isinstance(event, ReasoningDelta):
            _think(event.text)
            thinking = True
            continue
        if thinking:
            _think("\n")
            thinking = False
        if isinstance(event, TextDelta):
            show_answer(event.text, end="")
        elif isinstance(event, CropsRequested):
            note(f"looking closer: {', '.join(map(_name, event.crops))}")
        else:
            show_answer("")
            return event
    raise AssertionError("a stream ends with its answer")


def summarize(answer: Answer) -> None:
    """Print how an answer came about."""
    parts = [describe_path(answer), describe_tokens(answer), describe_time(answer)]
    if answer.reasoning_tokens:
        parts.insert(2, f"{answer.reasoning_tokens} tokens of reasoning")
    note(" · ".join(parts))
    for policy in answer.policies:
        warn(f"policy {policy}")


def _think(text: str) -> None:
    err.print(printable(text, keep="\n\t"), style="dim", markup=False, soft_wrap=True, end="")


def _name(crop: ZoomedCrop) -> str:
    return crop.name if crop.id else "box " + ",".join(map(str, crop.box))
