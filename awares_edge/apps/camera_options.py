"""Options of `awares-edge camera`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Sources: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        "-s",
        help="Where frames come from; see below. May be repeated: the page offers all, and "
        "the first is used. Default: a drawn scene that moves.",
    ),
]
Question: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--question", "-q", help="Repeat this question. Default: as typed, or on the page."
    ),
]
Every: TypeAlias = Annotated[
    float,
    typer.Option(
        min=0,
        help="Least seconds from one continuous question to the next; 0 for as often as the "
        "model can.",
    ),
]
MaxAge: TypeAlias = Annotated[
    float, typer.Option(min=0.01, help="Oldest frame that is asked about, in seconds.")
]
Still: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--still",
        help="Equal frames are normal (a test picture, a screen): do not treat the camera as "
        "frozen.",
    ),
]
Record: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Write every frame that was asked about, with question and answer, to this "
        "folder: a data set to correct, evaluate and train on."
    ),
]
InTerminal: TypeAlias = Annotated[
    bool, typer.Option("--terminal", help="No page: questions and answers in the terminal.")
]
Count: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="With --terminal: end after this many answers.")
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="With --terminal: one JSON object a line.")
]
Lan: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--lan",
        help="Serve the page to the local network, over HTTPS and with a token: for a "
        "phone's camera.",
    ),
]
Port: TypeAlias = Annotated[
    int, typer.Option(min=0, max=65535, help="Port of the page; 0 for any free one.")
]
