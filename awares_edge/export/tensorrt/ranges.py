"""The file of input ranges, for formats that quantize activations (w8a8, fp8).

`awares_edge.calibration.ranges` measures them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from awares_edge.errors import ExportError, InputError
from awares_edge.files import whole_file
from awares_edge.schema import parse_json, read_dataclass

_VERSION = 1
_LARGEST = 6e4


@dataclass(frozen=True, slots=True)
class _File:
    version: int
    ranges: dict[str, float]
    checkpoint: str = ""


def write_ranges(path: Path, checkpoint: str, ranges: Mapping[str, float]) -> None:
    """Write the largest magnitude of each layer's input, by the layer's name.

    Args:
        checkpoint: what they were measured on, for people.
    """
    body = {"version": _VERSION, "checkpoint": checkpoint, "ranges": dict(ranges)}
    with whole_file(path) as file:
        file.write((json.dumps(body, indent=1, sort_keys=True) + "\n").encode())


def read_ranges(path: Path) -> dict[str, float]:
    """Largest magnitude of each layer's input, by the layer's name.

    Raises:
        ExportError: the file is missing or holds something else.
    """
    try:
        body = parse_json(path.read_text(encoding="utf-8"), path.name)
        found = read_dataclass(_File, body, path.name)
        if found.version != _VERSION:
            raise InputError(f"{path.name} has another version")
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise ExportError(f"{path} is not a file of measured ranges: measure them again") from error
    if not found.ranges or not all(0 < value < _LARGEST for value in found.ranges.values()):
        raise ExportError(f"{path}: every range must be between 0 and {_LARGEST:g}")
    return found.ranges
