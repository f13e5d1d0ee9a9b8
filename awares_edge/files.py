"""Files and folders that appear only when complete, and never replace something of another kind.

Everything is written under a temporary name next to its target and renamed at the end. Modes follow
the umask; a file that is replaced keeps its own. A process that is killed outright (SIGKILL, power)
leaves a `.awares-edge.*` file or folder, which may be removed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from awares_edge.errors import InputError


def check_output(path: Path) -> None:
    """Find out before the work whether `whole_file` can write `path` after it; leaves no trace.

    Raises:
        InputError: a device, folder, FIFO or link stands there, or the folder cannot be written to.
    """
    try:
        _refuse_special(path)
        _try_folder(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def check_output_folder(path: Path) -> None:
    """Find out before the work whether files can be written into `path`; leaves no trace.

    Raises:
        InputError: what stands there is not a folder, or cannot be written to.
    """
    try:
        _try_folder(path)
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror or error}") from error


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """A temporary path to write a file to, renamed to `path` when the block ends without error.

    Makes the folder of `path`.

    Raises:
        OSError: it cannot be written; what stood at `path` before stays. Its `filename` is `path`.
    """
    temporary = _beside(path)
    try:
        _refuse_special(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        _refuse_special(path)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, under a temporary name until the block ends without error: see `whole_path`.

    Raises:
        OSError: it cannot be written; what stood at `path` before stays.
    """
    with whole_path(path) as temporary, temporary.open("xb") as file:
        yield file


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """A temporary folder next to `target`; removed at the end, unless `place_folder` moved it."""
    temporary = _beside(target)
    try:
        temporary.mkdir()
        yield temporary
    finally:
        _remove(temporary)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, under a temporary name until the block ends without error.

    A folder that stood at `path` before is replaced then, and only then.

    Raises:
        OSError: it cannot be written; what stood at `path` before stays.
    """
    with staging_folder(path) as temporary:
        yield temporary
        place_folder(temporary, path, replace=True)


def place_folder(source: Path, target: Path, *, replace: bool = False) -> None:
    """Rename a finished folder to `target`, in the same folder.

    Args:
        replace: take the place of a folder that is there; it is moved aside first, back if the
            rename fails, and removed after.

    Raises:
        FileExistsError: something stands at `target` that may not be replaced.
        OSError: the rename failed.
    """
    aside = _beside(target, ".old")
    kept = aside / "folder"
    try:
        if replace and target.is_dir() and not target.is_symlink():
            aside.mkdir()
            with suppress(FileNotFoundError):  # another process has just moved it
                target.replace(kept)
        source.replace(target)
    except BaseException as error:
        if kept.exists() and not os.path.lexists(target):
            kept.replace(target)
        # A folder is never renamed onto a filled folder or a file: that is the claim to the name.
        if isinstance(error, OSError) and error.errno in _TAKEN:
            raise FileExistsError(errno.EEXIST, "exists already", str(target)) from error
        raise
    finally:
        _remove(aside)


_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def _beside(path: Path, ending: str = ".tmp") -> Path:
    """A new name in the folder of `path`; short, even if the name of `path` is long."""
    return path.parent / f".awares-edge.{secrets.token_hex(6)}{ending}"


def _refuse_special(path: Path) -> None:
    """A rename would replace anything: a link, for the superuser even a device."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "something other than a regular file is there", str(path))


def _try_folder(folder: Path) -> None:
    """Make and remove a file in `folder`, or in the nearest folder above it that is there."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    trial = _beside(folder / "trial")
    try:
        trial.touch(exist_ok=False)
    finally:
        with suppress(OSError):
            trial.unlink()


def _remove(folder: Path) -> None:
    """Remove a temporary folder; a signal that arrives meanwhile takes effect afterwards."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
