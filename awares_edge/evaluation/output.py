"""Checks that a measurement can write its results, before the work begins."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

from awares_edge.errors import InputError


def check_writable(path: Path) -> None:
    """Check that `whole_file` can write ``path`` later; makes its folder.

    Raises:
        InputError: it cannot be written.
    """
    # `whole_file` renames onto it: a link or a device (/dev/stdout, /dev/null) would be replaced.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError(f"cannot write {path}: name a plain file, or one that is not there yet")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
