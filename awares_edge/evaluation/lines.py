"""Lines of an untrusted file of JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from awares_edge.errors import InputError

_MAX_LINE = 1 << 20


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line without white space around it) of each line that is not empty.

    Raises:
        InputError: the file cannot be read, or a line is over 1 MiB.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE + 1), b""), 1):
                if len(line) > _MAX_LINE:
                    raise InputError(f"{path}: line {number} is over {_MAX_LINE:,} bytes")
                if line.strip():
                    yield number, line.strip()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
