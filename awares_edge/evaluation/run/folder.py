"""The folder of a run: pinned settings, rows that survive a kill, and a lock.

DIR/settings.json                 model and scorer
DIR/chartqa/awares/settings.json  data, mode, limit, shard
DIR/chartqa/awares/rows.jsonl     one row a line, in order
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from awares_edge.errors import InputError
from awares_edge.evaluation.run.rows import Row, read_rows
from awares_edge.evaluation.run.sync import Sync
from awares_edge.evaluation.suites.base import Selection
from awares_edge.files import check_output, check_output_folder, whole_file
from awares_edge.schema import parse_json

SETTINGS = "settings.json"
ROWS = "rows.jsonl"
_LOCK = ".lock"


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Make the folder and lock it against other processes; the lock ends with its process.

    Raises:
        InputError: another process is at work there, or the folder cannot be written to.
    """
    check_output_folder(root)
    root.mkdir(parents=True, exist_ok=True)
    check_output(root / _LOCK)
    with (root / _LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another process writes to {root}: wait for it, or choose another folder"
            ) from error
        yield


def pin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a new folder; compare those of one that was begun.

    Raises:
        InputError: they differ.
    """
    path = folder / SETTINGS
    if not path.exists():
        check_output(path)
        with whole_file(path) as file:
            file.write(json.dumps(settings, indent=2, sort_keys=True).encode() + b"\n")
        return
    old = read_settings(folder)
    new = json.loads(json.dumps(settings))
    if different := sorted(k for k in {*old, *new} if old.get(k) != new.get(k)):
        key = different[0]
        raise InputError(
            f"{folder} was begun with another {key} ({_short(old.get(key))}, now "
            f"{_short(new.get(key))}): give the same, or choose another folder"
        )


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a run.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    path = folder / SETTINGS
    try:
        return parse_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{folder} is not the folder of a run: {path} is missing") from error


def runs(root: Path) -> dict[tuple[str, str], Path]:
    """Folders of the runs in a folder, by suite and mode, sorted; `root` may be one itself.

    Raises:
        InputError: there are none.
    """
    folders = (
        [root] if (root / ROWS).exists() else sorted(p.parent for p in root.glob(f"*/*/{ROWS}"))
    )
    if not folders:
        raise InputError(f"{root} has no results of evaluate")
    found = {}
    for folder in folders:
        settings = read_settings(folder)
        found[str(settings.get("suite")), str(settings.get("mode"))] = folder
    return found


def selection_of(settings: Mapping[str, Any]) -> Selection:
    """The rows that a run's settings ask for.

    Raises:
        InputError: the settings are damaged.
    """
    limit = settings.get("limit")
    if not (limit is None or isinstance(limit, int)):
        raise InputError(f"a run's settings name the limit {limit!r}: begin the run again")
    return Selection(limit, *Selection.parse_shard(str(settings.get("shard"))))


def expected_rows(settings: Mapping[str, Any]) -> int:
    """How many rows a run has when it is complete."""
    count = settings.get("rows")
    return selection_of(settings).size(count if isinstance(count, int) else 0)


class RowLog:
    """`rows.jsonl`, opened to be continued.

    Each row is written by one call as soon as it is there, so that a killed process leaves at most
    one incomplete line, which is removed here. Rows reach the disk within a second.

    Attributes:
        count: rows that it holds.
    """

    def __init__(self, folder: Path, selection: Selection) -> None:
        """Open it and check the rows in it.

        Raises:
            InputError: a row is damaged, missing or repeated; or the file cannot be written.
        """
        self.path = folder / ROWS
        check_output(self.path)
        self.count = 0
        if self.path.exists():
            self._recover(selection)
        self._file = self.path.open("ab", buffering=0)
        self._sync = Sync(self._file.fileno())

    def _recover(self, selection: Selection) -> None:
        """Remove an incomplete last line; hold the others to the order of the selection."""
        for row in read_rows(self.path):
            expected = selection.nth(self.count)
            if row.index != expected:
                raise InputError(
                    f"{self.path}, line {self.count + 1} is row {row.index}, not {expected}: "
                    "the file was changed; choose another folder"
                )
            self.count += 1
        with self.path.open("r+b") as file:
            file.truncate(_complete_length(file))
            os.fsync(file.fileno())

    def append(self, row: Row) -> None:
        """Write a row.

        Raises:
            OSError: the disk is full; the rows so far stay readable.
        """
        line = row.to_line()
        if self._file.write(line) != len(line):
            raise OSError(28, os.strerror(28), str(self.path))
        self.count += 1
        self._sync.written()

    def __enter__(self) -> RowLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._sync.close()
        finally:
            self._file.close()


def _complete_length(file: Any) -> int:
    """Length up to the last line end, searched from the end."""
    position = end = file.seek(0, 2)
    while position > 0:
        step = min(1 << 16, position)
        position -= step
        file.seek(position)
        at = file.read(step).rfind(b"\n")
        if at >= 0:
            return int(position + at + 1)
    return 0 if end else end


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
