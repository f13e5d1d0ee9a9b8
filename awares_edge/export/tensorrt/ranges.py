"""The file of input ranges, for formats that quantize activations (w8a8, fp8).

`awares_edge.calibration.ranges` measures them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from awares_edge.errors import ExportError
from awares_edge.files import whole_file

_VERSION = 1
_LARGEST = 6e4


def write_ranges(path: Path, checkpoint: str, ranges: Mapping[str, float]) -> None:
    """Write the largest magnitude of each layer's input, by the layer's name.

    Args:
        checkpoint: what they were measured on, for people.
    """
    body = {"version": _VERSION, "checkpoint": checkpoint, "ranges": dict(ranges)}
    with whole_file(path) as file:
        file.write((json.dumps(body, indent=1, sort_keys=True) + "\n").encode())


def read_ranges(path: Path) -> dict[str, float]:
    """Ranges by layer.

    Raises:
        ExportError: the file is missing or holds something else.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["version"] != _VERSION:
            raise ValueError("another version")
        ranges = {str(name): float(value) for name, value in body["ranges"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{path} is not a file of measured ranges: measure them again") from error
    if not ranges or not all(math.isfinite(v) and 0 < v < _LARGEST for v in ranges.values()):
        raise ExportError(f"{path}: every range must be between 0 and {_LARGEST:g}")
    return ranges
