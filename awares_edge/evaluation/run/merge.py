"""The shards of a run, which may come from several machines, as one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import Any

from awares_edge.errors import InputError
from awares_edge.evaluation.run.folder import (
    ROWS,
    RowLog,
    expected_rows,
    pin,
    read_settings,
    runs,
    selection_of,
)
from awares_edge.evaluation.run.rows import Row, read_rows


def merge_shards(sources: Sequence[Path], target: Path) -> None:
    """Write the runs of all shards to an empty folder, rows in their order.

    Raises:
        InputError: a shard is missing, incomplete or there twice; shards differ in more than their
            number; `target` holds results already.
        OSError: `target` cannot be written.
    """
    if any(target.glob(f"*/*/{ROWS}")):
        raise InputError(f"{target} holds results already: choose another folder")
    _pin_same([read_settings(source) for source in sources], target)
    found: dict[tuple[str, str], list[Path]] = {}
    for source in sources:
        for key, folder in runs(source).items():
            found.setdefault(key, []).append(folder)
    checked = {key: _check_shards(key, folders) for key, folders in found.items()}
    for (suite, mode), folders in found.items():
        folder = target / suite / mode
        folder.mkdir(parents=True, exist_ok=True)
        settings = {**checked[suite, mode], "shard": "1/1"}
        pin(folder, settings)
        with RowLog(folder, selection_of(settings)) as log:
            for row in _in_order(folders):
                log.append(row)


def _in_order(folders: Sequence[Path]) -> Iterator[Row]:
    return merge(*(read_rows(folder / ROWS) for folder in folders), key=lambda row: row.index)


def _check_shards(key: tuple[str, str], folders: Sequence[Path]) -> dict[str, Any]:
    """The settings that all shards share."""
    every = [read_settings(folder) for folder in folders]
    shards = [selection_of(settings) for settings in every]
    numbers = sorted(s.shard for s in shards)
    wanted = shards[0].shards
    if numbers != list(range(1, wanted + 1)) or any(s.shards != wanted for s in shards):
        given = ", ".join(str(settings["shard"]) for settings in every)
        raise InputError(
            f"the shards of {' '.join(key)} are not complete: got {given}; give each of "
            f"1/{wanted} to {wanted}/{wanted} once"
        )
    common = [{k: v for k, v in settings.items() if k != "shard"} for settings in every]
    for folder, settings, other in zip(folders, every, common, strict=True):
        if other != common[0]:
            raise InputError(f"{folder} and {folders[0]} belong to different runs")
        count = sum(1 for _ in read_rows(folder / ROWS))
        if count != expected_rows(settings):
            raise InputError(
                f"{folder} has {count} of {expected_rows(settings)} rows: finish that run first"
            )
    return common[0]


def _pin_same(settings: Sequence[dict[str, Any]], target: Path) -> None:
    if any(other != settings[0] for other in settings):
        raise InputError("the folders have different models or scorers")
    pin(target, settings[0])
