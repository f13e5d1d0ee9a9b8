"""Lines of untrusted JSON lines: bounded, numbered, and named in errors as "FILE, line N"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from awares_edge.errors import InputError
from awares_edge.schema import parse_json

MAX_LINE = 1 << 20
"""Longest line in bytes, its end included."""
MAX_HELD = 64 << 20
"""Most bytes of a file whose lines are all kept in memory."""
_MARK = b"\xef\xbb\xbf"


def bounded_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, line without white space around it) of each line that is not empty.

    None instead of a line that is over `MAX_LINE`, which is never held whole. A byte order mark is
    left out.
    """
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_MARK)
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE + 1)
            yield number, None
        elif line.strip():
            yield number, line.strip()


def numbered_lines(path: Path, *, most_bytes: int | None = None) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line without white space around it) of each line that is not empty.

    Args:
        most_bytes: most of all lines together, for who keeps them; None for no limit.

    Raises:
        InputError: the file cannot be read, or a line or all of them are too long.
    """
    read = 0
    try:
        with path.open("rb") as file:
            for number, line in bounded_lines(file):
                if line is None:
                    raise too_long(place(path, number))
                read += len(line)
                if most_bytes is not None and read > most_bytes:
                    raise InputError(f"{path} has over {most_bytes >> 20} MiB: give fewer lines")
                yield number, line
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def place(path: Path | str, number: int) -> str:
    """How errors name a line."""
    return f"{path}, line {number}"


def too_long(where: str) -> InputError:
    """The error for a line that `bounded_lines` gives as None."""
    return InputError(f"{where} is over {MAX_LINE:,} bytes")


def parse_line(line: bytes, where: str) -> dict[str, Any]:
    """The JSON object of a line.

    Raises:
        InputError: not UTF-8, or as for `schema.parse_json`.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 text") from error
    return parse_json(text, where)
