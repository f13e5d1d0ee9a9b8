"""`awares-edge protocols`: how models are asked, profile by profile."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, TypeAlias

import typer
from rich.table import Table

from awares_edge.apps.console import cell, note, out, print_json, printable, say
from awares_edge.apps.options import JsonOption
from awares_edge.errors import InputError
from awares_edge.lines import bounded_lines, parse_line, too_long
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.profiles import PROFILES, get_profile
from awares_edge.protocol.prompt import MAX_QUESTION
from awares_edge.protocol.reading import Part, example_conversation, read_reply

"""Longest line of `protocols read`, in bytes."""
_MAX_SIDE = 1 << 20
_MAX_PICTURES = 64
_ALIASES = {"images": "pictures", "observations": "pictures", "turn": "calls"}

LIST_EPILOG = """
Examples:

    awares-edge protocols

    awares-edge protocols show deepeyes

    awares-edge protocols show my-model.toml

    echo '{"text": "<zoom>[1, 2, 90, 80]</zoom>", "image_size": [640, 480]}' |
    awares-edge protocols read ergo
"""
READ_EPILOG = """
A line of the input: {"text": "...", "image_size": [1920, 1080]}. Optional: "pictures", the sizes
of the source picture and of the regions cut so far (also "images" or "observations"); "calls", how
many calls came before (also "turn"); "question", what was asked.

A line of the output: "status" (none, ok, repaired, invalid), "problem", "source_size",
"first_size", "regions" ("box" in pixels of picture number "picture", "size" as it is sent), "turn"
(the text that would be appended) and "answer". A line that cannot be read gives "line" and "error".
"""

app = typer.Typer(
    name="protocols",
    help="List the protocol profiles, show one, or read a model's replies with it.",
    epilog=LIST_EPILOG,
    invoke_without_command=True,
    rich_markup_mode="markdown",
)
NameArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A profile's name, or a .toml or .json file.")
]


@app.callback()
def _list(context: typer.Context, json: JsonOption = False) -> None:
    if context.invoked_subcommand is not None:
        return
    rows = [_row(profile) for profile in PROFILES.values()]
    if json:
        print_json(rows)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("profile", "asks for", "calls", "checkpoints"):
        table.add_column(name, overflow="fold")
    for row in rows:
        calls = f"always {row['max_calls']}" if row["must_call"] else f"up to {row['max_calls']}"
        table.add_row(row["name"], row["asks_for"], calls, cell(", ".join(row["checkpoints"])))
    out.print(table)


@app.command("show")
def show(profile: NameArgument, json: JsonOption = False) -> None:
    """Show a profile and a conversation under it, character for character."""
    chosen = get_profile(profile)
    parts = example_conversation(chosen)
    if json:
        print_json({"profile": asdict(chosen), "conversation": [asdict(part) for part in parts]})
        return
    for name, value in _facts(chosen).items():
        out.print(cell(f"{name}: ", "bold"), cell(value), sep="", soft_wrap=True)
    for part in parts:
        _show_part(part)


@app.command("read", epilog=READ_EPILOG)
def read(profile: NameArgument) -> None:
    """Read replies from standard input, one JSON object a line, and say what they ask for."""
    chosen = get_profile(profile)
    total = bad = 0
    if sys.stdin.isatty():
        note("reading JSON lines from standard input; end with Ctrl-D")
    for number, line in bounded_lines(sys.stdin.buffer):
        total += 1
        try:
            result = read_reply(chosen, **_request(line))
        except InputError as error:
            bad += 1
            result = {"line": number, "error": str(error)}
        print_json(result)
        sys.stdout.flush()
    if bad:
        raise InputError(f"{bad} of {total} lines could not be read")


def _row(profile: ProtocolProfile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "asks_for": _asks_for(profile),
        "max_calls": profile.limits.max_calls,
        "must_call": profile.limits.must_call,
        "checkpoints": list(profile.checkpoints),
        "about": profile.about.strip(),
    }


def _asks_for(profile: ProtocolProfile) -> str:
    return {
        "crops": "crops by id",
        "whole": "the whole picture",
        "view": "a box in pixels of the first view",
        "unit": "a box in shares of a picture",
        "unit-or-pixels": "a box in shares or pixels of a picture",
    }[profile.region.coordinates]


def _facts(profile: ProtocolProfile) -> dict[str, str]:
    limits = profile.limits
    facts = {
        "profile": profile.name,
        "about": " ".join(profile.about.split()),
        "checkpoints": ", ".join(profile.checkpoints),
        "asks for": _asks_for(profile),
        "calls": f"{'always' if limits.must_call else 'up to'} {limits.max_calls}",
        "tokens": f"up to {limits.max_new_tokens} a turn",
        "stops at": ", ".join(limits.stop),
        "pixels": f"{profile.min_pixels} to {profile.max_pixels}",
        "needs as one token": ", ".join(profile.tokens),
    }
    return {name: value for name, value in facts.items() if value}


def _show_part(part: Part) -> None:
    say(f"--- {part.what}", style="bold")
    print(printable(part.text, keep="\n\t"))


def _request(line: bytes | None) -> dict[str, Any]:
    """Arguments of `read_reply`.

    Raises:
        InputError: the line is not such an object.
    """
    if line is None:
        raise too_long("the line")
    fields: dict[str, Any] = {}
    for key, value in parse_line(line, "the line").items():
        name = _ALIASES.get(key, key)
        if name in fields:
            raise InputError(f"the line has {name!r} twice")
        fields[name] = value
    known = {"text": "text", "image_size": "size", "pictures": "sizes", "calls": "count"}
    kinds = {**known, "question": "text"}
    for name in ("text", "image_size"):
        if name not in fields:
            raise InputError(f"the line lacks the field {name!r}")
    for name, value in fields.items():
        if name not in kinds:
            raise InputError(f"the line has an unknown field {name[:60]!r}")
        _check(name, kinds[name], value)
    return _arguments(fields)


def _arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    pictures = fields.get("pictures")
    return {
        **fields,
        "image_size": tuple(fields["image_size"]),
        "pictures": [tuple(size) for size in pictures] if pictures else None,
    }


def _check(name: str, kind: str, value: Any) -> None:
    if kind == "text" and not (isinstance(value, str) and (name == "text" or _short(value))):
        raise InputError(f"{name!r} must be text of at most {MAX_QUESTION} characters")
    if kind == "count" and not (type(value) is int and 0 <= value <= _MAX_SIDE):
        raise InputError(f"{name!r} must be a whole number between 0 and {_MAX_SIDE}")
    if kind == "size" and not _is_size(value):
        raise InputError(
            f"{name!r} must be [width, height], whole numbers between 1 and {_MAX_SIDE}"
        )
    if kind == "sizes" and not (
        isinstance(value, list) and len(value) <= _MAX_PICTURES and all(map(_is_size, value))
    ):
        raise InputError(f"{name!r} must be a list of at most {_MAX_PICTURES} [width, height]")


def _short(value: str) -> bool:
    return len(value) <= MAX_QUESTION


def _is_size(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(side) is int and 1 <= side <= _MAX_SIDE for side in value)
    )
