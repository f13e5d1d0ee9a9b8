"""Options of `awares-edge ask`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from awares_edge.apps.options import ModeName
from awares_edge.controller.policies import Policies
from awares_edge.errors import InputError


class InvalidCallName(str, Enum):
    """Names for `--on-invalid-call`."""

    protocol = "protocol"
    answer_low = "answer-low"
    whole_image = "whole-image"


class TooManyName(str, Enum):
    """Names for `--on-too-many-crops`."""

    keep_first = "keep-first"
    whole_image = "whole-image"
    answer_low = "answer-low"


Questions: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        help="What to ask about it; several are one conversation.", metavar="QUESTION..."
    ),
]
FollowUp: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--follow-up/--no-follow-up",
        help="Whether a question sees the earlier ones, with their answers and crops.",
    ),
]
MaxCalls: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How often the model may look closer. Default: as its protocol says; in mode "
        "progressive at least 3.",
    ),
]
MaxCrops: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Most crops that the model may fetch at once.")
]
MaxRtr: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Most visual tokens of a question, as a share of the full-resolution picture's."
    ),
]
OnInvalidCall: TypeAlias = Annotated[
    InvalidCallName,
    typer.Option(
        help="What a call that cannot be followed leads to: what the model's protocol says, "
        "an answer from what was shown, or the whole picture."
    ),
]
OnTooManyCrops: TypeAlias = Annotated[
    TooManyName, typer.Option(help="What a call for more than --max-crops leads to.")
]
Crops: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Zoom here without asking the model: crop ids, such as 0,5 or all."),
]
Timeout: TypeAlias = Annotated[
    float | None, typer.Option(help="Seconds after which a question is given up.")
]
Json: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object (an array for several questions), nothing else."
    ),
]
Stream: TypeAlias = Annotated[
    bool, typer.Option("--stream", help="Print the answer as it is generated.")
]
SaveView: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Write a PNG: the picture with its crops beside what the model saw."),
]


def check_limits(
    mode: ModeName, max_calls: int | None, max_crops: int | None, max_rtr: float | None
) -> None:
    """Refuse limits of crops in a mode that fetches none.

    Raises:
        InputError: one was given.
    """
    if mode not in (ModeName.full, ModeName.low):
        return
    limits = {"--max-calls": max_calls, "--max-crops": max_crops, "--max-rtr": max_rtr}
    unused = [name for name, value in limits.items() if value is not None]
    if unused:
        raise InputError(f"--mode {mode.value} fetches no crops: leave {' and '.join(unused)} out")


def policies(
    invalid_call: InvalidCallName,
    max_crops: int | None,
    too_many: TooManyName,
    max_rtr: float | None,
    abstain_below: float | None,
) -> Policies:
    """The policies that the options describe.

    Raises:
        InputError: a value is out of bounds.
    """
    return Policies(invalid_call.value, max_crops, too_many.value, max_rtr, abstain_below)


def crop_ids(text: str) -> tuple[str, ...]:
    """Ids of `--crops`: "0,5" or "all".

    Raises:
        InputError: an id is empty or given twice, or "all" is not alone.
    """
    ids = tuple(part.strip() for part in text.split(","))
    if not all(ids) or ("all" in ids and len(ids) > 1) or len(set(ids)) < len(ids):
        raise InputError(f"--crops {text!r} does not name crops: give ids such as 0,5, or all")
    return ids
