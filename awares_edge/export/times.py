"""The file that `awares-edge calibrate times` writes: how long each matrix takes on a device.

JSON. For each matrix that a mix chooses a format for, milliseconds of all its products in one
two-turn question, in each format; and what the rest of that question takes. Times hold for the CPU,
threads and onnxruntime that they were measured with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from awares_edge.checkpoint.names import expected_shapes
from awares_edge.errors import ExportError, InputError
from awares_edge.export.smoothing.sites import site_matrices
from awares_edge.files import whole_file
from awares_edge.schema import Items, Limits, Real, Text, Whole, parse_json, read_dataclass
from awares_edge.spec import ModelSpec

TIMED_BLOCK = 64
"""Inputs of the 4-bit blocks that are timed, where it divides a row."""
_FORMAT = "awares-edge-times"
_VERSION = 1
_MAX_BYTES = 16 << 20
_MS = Real(0, 1e9)
_LIMITS: Limits = {
    "format": Text(1, 64),
    "version": Whole(_VERSION, _VERSION),
    "cpu": Text(0, 256),
    "threads": Whole(1, 1 << 16),
    "onnxruntime": Text(1, 64),
    "precision": Text(1, 32),
    "question_ms": _MS,
    "rest_ms": _MS,
    "matrices": Items(1, 1 << 16),
    "matrices.keys": Text(1, 512),
    "matrices[].shape[]": Whole(1, 1 << 24),
    **{f"matrices[].{name}": _MS for name in ("fp16", "int8", "int4")},
}


@dataclass(frozen=True, slots=True)
class MatrixTime:
    """Milliseconds that one matrix takes in a two-turn question.

    Attributes:
        shape: [out, in].
        fp16, int8, int4: in each format. fp16 computes in fp32; int4 is int8 where no block of
            inputs divides a row.
    """

    shape: tuple[int, int]
    fp16: float
    int8: float
    int4: float

    def ms(self, format: str) -> float:
        """Of one format; fp32 computes as fp16 does."""
        return {"fp32": self.fp16, "fp16": self.fp16, "int8": self.int8, "int4": self.int4}[format]

    @property
    def fastest(self) -> str:
        """The format with the least time."""
        return min(("int8", "int4", "fp16"), key=self.ms)


@dataclass(frozen=True, slots=True)
class Times:
    """What a device needs for a two-turn question.

    Attributes:
        cpu, threads, onnxruntime: what computed.
        precision: of the bundle that answered the question.
        question_ms: of that bundle, first to last.
        rest_ms: the part of it that is not a product of `matrices`.
        matrices: by the matrix's name, "a.weight+b.weight" where a graph joins them.
    """

    format: str
    version: int
    cpu: str
    threads: int
    onnxruntime: str
    precision: str
    question_ms: float
    rest_ms: float
    matrices: dict[str, MatrixTime]

    @classmethod
    def of(cls, **values: object) -> Times:
        """Times measured now."""
        return cls(format=_FORMAT, version=_VERSION, **values)  # type: ignore[arg-type]

    def estimate(self, mix: Mapping[str, str]) -> float:
        """Milliseconds of a two-turn question where matrices have these formats."""
        products = (self.matrices[name].ms(format) for name, format in mix.items())
        return self.rest_ms + sum(products)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        with whole_file(path) as file:
            file.write(json.dumps(asdict(self), indent=1).encode() + b"\n")


def timed_shapes(spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """Shape [out, in] of each matrix that a mix chooses a format for, by name."""
    shapes = expected_shapes(spec)
    found = {}
    for name in site_matrices(spec):
        parts = [shapes[part] for part in name.split("+")]
        found[name] = (sum(part[0] for part in parts), parts[0][1])
    return found


def read_times(path: Path, spec: ModelSpec) -> Times:
    """Read a file of times of a model of this shape.

    Raises:
        ExportError: no such file, not such a file, damaged, or of a model of another shape.
    """
    again = "measure it again with `awares-edge calibrate times`"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise InputError("it is too large")
        body = parse_json(data.decode(), str(path))
        if body.get("format") != _FORMAT:
            raise InputError(f"{path} is not a file of times")
        times = read_dataclass(Times, body, str(path), _LIMITS)
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ExportError(f"{path} is not a file of times: {again}") from error
    except InputError as error:
        raise ExportError(f"{error}: {again}") from error
    if {name: matrix.shape for name, matrix in times.matrices.items()} != timed_shapes(spec):
        raise ExportError(
            f"{path} was measured on another model: measure it on a bundle of this one"
        )
    return times
