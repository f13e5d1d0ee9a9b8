"""Rows of published parquet files, a few at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awares_edge.errors import InputError
from awares_edge.evaluation.suites.base import Selection
from awares_edge.extras import require

_BATCH = 8  # rows that become Python objects together; a picture may be several megabytes
_BUFFER = 1 << 20
_FOOTER = 1 << 16
_MOST_ROWS = 10_000_000  # of one file: a damaged footer can say anything


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that the file says it has and that cannot be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    first: int
    groups: tuple[int, ...]


class ParquetRows:
    """The rows of several files as one sequence.

    Attributes:
        count: number of rows, from the files' footers.
    """

    def __init__(self, paths: Sequence[Path], columns: Sequence[str], optional: Sequence[str]):
        """Read the footers.

        Raises:
            RuntimeUnavailable: pyarrow is not installed.
            InputError: a file is truncated, unreadable or lacks a column that is not optional.
        """
        require("reading parquet files", {"pyarrow": "awares-edge[evaluate]"})
        self._files: list[_File] = []
        self._columns: dict[Path, list[str]] = {}
        self.count = 0
        for path in paths:
            metadata, names = _footer(path)
            if missing := [c for c in columns if c not in names and c not in optional]:
                raise InputError(
                    f"{path} has no column {', '.join(map(repr, missing))}: it is not the "
                    "published file"
                )
            groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
            if min(groups, default=0) < 0 or sum(groups) > _MOST_ROWS:
                raise InputError(f"{path} claims {sum(groups):,} rows: download it again")
            self._files.append(_File(path, self.count, groups))
            self._columns[path] = [c for c in columns if c in names]
            self.count += sum(groups)

    def pins(self) -> list[dict[str, Any]]:
        """Name, size, rows and a hash of the end of each file, where the footer is."""
        return [
            {
                "name": file.path.name,
                "bytes": file.path.stat().st_size,
                "rows": sum(file.groups),
                "footer_sha256": _hash_of_end(file.path),
            }
            for file in self._files
        ]

    def read(self, selection: Selection) -> Iterator[tuple[int, dict[str, Any] | Damaged]]:
        """The chosen rows in order. Row groups without any of them are not read."""
        for file in self._files:
            first = file.first
            for group, rows in enumerate(file.groups):
                if selection.ended(first):
                    return
                if selection.wants_any(range(first, first + rows)):
                    yield from self._group(file.path, group, range(first, first + rows), selection)
                first += rows

    def _group(
        self, path: Path, group: int, indexes: range, selection: Selection
    ) -> Iterator[tuple[int, dict[str, Any] | Damaged]]:
        """One row group; the rows from the first damaged page on are reported one by one."""
        done = indexes.start
        try:
            for batch in _batches(path, group, self._columns[path]):
                for offset in range(batch.num_rows):
                    if selection.ended(done):
                        return
                    if selection.wants(done):
                        yield done, batch.slice(offset, 1).to_pylist()[0]
                    done += 1
            reason = "the file ends early"
        except _read_errors() as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        for index in range(done, indexes.stop):
            if selection.wants(index):
                yield index, Damaged(f"{path.name} is damaged here: {reason}")


def _batches(path: Path, group: int, columns: list[str]) -> Iterator[Any]:
    import pyarrow.parquet as pq

    # A page at a time. Published files have one page for the pictures of a row group (100 rows).
    with pq.ParquetFile(path, memory_map=False, buffer_size=_BUFFER, pre_buffer=False) as file:
        yield from file.iter_batches(
            batch_size=_BATCH, row_groups=[group], columns=columns, use_threads=False
        )


def _footer(path: Path) -> tuple[Any, list[str]]:
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        with pq.ParquetFile(path) as file:
            return file.metadata, list(file.schema_arrow.names)
    except _read_errors() as error:
        raise InputError(f"{path} is truncated or not a parquet file: download it again") from error


def _read_errors() -> tuple[type[BaseException], ...]:
    import pyarrow as pa

    # Damaged data also raises plain errors from conversions to Python.
    return (pa.ArrowException, OSError, ValueError, KeyError, MemoryError)


def _hash_of_end(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(-min(_FOOTER, path.stat().st_size), 2)
        return hashlib.sha256(file.read()).hexdigest()
