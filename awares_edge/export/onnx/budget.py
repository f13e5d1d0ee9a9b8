"""The mix of formats whose decisions drift least within a budget of bytes, milliseconds, or both.

Drifts are those of one matrix at a time (`export.measured`). Rounding errors of matrices are
independent, so squared drifts are added up. Times are those of the device (`export.times`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from awares_edge.checkpoint.names import EMBEDDING, PATCH_EMBEDDING
from awares_edge.checkpoint.tensorfile import Weights
from awares_edge.errors import ExportError
from awares_edge.export.graph.weights import ALIGNMENT, Matrix, WeightFormat
from awares_edge.export.measured import Measured, layer_name
from awares_edge.export.onnx.precisions import Formats
from awares_edge.export.onnx.search import Choice, cheapest, least_drift
from awares_edge.export.smoothing.sites import site_matrices
from awares_edge.export.times import Times
from awares_edge.spec import ModelSpec

_MB = 1e6
_NPY_HEADER = 128
Shape: TypeAlias = tuple[int, int]
Options: TypeAlias = Mapping[str, list[Choice]]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a mix may cost.

    Attributes:
        mb: most MB of the embedding and of both weight files; None for any number.
        ms: most milliseconds of a two-turn question; None for any number.
        times: what the device needs; None only where `ms` is.
    """

    mb: float | None
    ms: float | None
    times: Times | None


@dataclass(frozen=True, slots=True)
class Mix:
    """A format for each matrix.

    Attributes:
        formats: by the matrix's name.
        ms: estimated milliseconds of a two-turn question; None where no times are known.
    """

    formats: Mapping[str, str]
    ms: float | None


@dataclass(frozen=True, slots=True)
class _Limit:
    """A budget, infinite where none is given.

    Attributes:
        fixed: what is spent before anything is chosen.
    """

    unit: str
    most: float | None
    fixed: float

    @property
    def room(self) -> float:
        return math.inf if self.most is None else self.most - self.fixed

    def __str__(self) -> str:
        return f"{self.most:.10g} {self.unit}"

    def least(self, cost: float) -> str:
        """A budget, rounded up, in which choices of this cost fit."""
        hundredths = math.ceil((cost + self.fixed) * 100 + 1e-6)
        return f"{hundredths / 100:.10g} {self.unit}"


def fit_mix(
    spec: ModelSpec, weights: Weights, formats: Formats, measured: Measured, budget: Budget
) -> Mix:
    """The format of each matrix; where `formats` keeps a matrix in a format, it is that one.

    Raises:
        ExportError: no drifts were measured, or no mix is within the budget.
    """
    if not measured.drifts:
        raise ExportError(
            "the calibration file holds no drifts: measure it again with `awares-edge calibrate "
            "weights --sensitivity`"
        )
    times = budget.times
    options = {}
    for name in site_matrices(spec):
        shape = Matrix.of(weights, *name.split("+")).shape
        drifts = measured.drifts[layer_name(name)]
        options[name] = [
            Choice(
                kind,
                (_megabytes(name, shape, format), times.matrices[name].ms(kind) if times else 0.0),
                drifts.get(kind, 0.0),
            )
            for kind, format in formats.options(name, shape).items()
        ]
    size = _Limit("MB", budget.mb, _fixed_megabytes(spec, weights, formats))
    mix = _fit(options, size, _Limit("ms", budget.ms, times.rest_ms if times else 0.0))
    return Mix(mix, times.estimate(mix) if times else None)


def _fit(options: Options, size: _Limit, time: _Limit) -> dict[str, str]:
    """
    Raises:
        ExportError: no mix is within the limits; the message names the smallest one that is.
    """
    rooms = (size.room, time.room)
    if min(rooms) > 0 and (found := least_drift(options, rooms)) is not None:
        return {name: choice.format for name, choice in found.items()}
    for place, limit in enumerate((size, time)):
        least = cheapest({name: _only(ways, place) for name, ways in options.items()}, [])
        if least > limit.room:
            raise ExportError(
                f"a budget of {limit} is too small for this model: give at least "
                f"{limit.least(least)}"
            )
    raise ExportError(
        f"no mix of {size} takes at most {time}: give at least "
        f"{time.least(cheapest(options, rooms[:1]))}, or more MB"
    )


def _only(ways: list[Choice], place: int) -> list[Choice]:
    """Choices with one of their costs."""
    return [Choice(way.format, (way.costs[place],), way.drift) for way in ways]


def _megabytes(name: str, shape: Shape, format: WeightFormat) -> float:
    """In a weight file; a tied head in a float format reads the embedding's file."""
    free = name == EMBEDDING and format.rounding is None
    return 0.0 if free else _stored_bytes(format, shape) / _MB


def _fixed_megabytes(spec: ModelSpec, weights: Weights, formats: Formats) -> float:
    """Of the embedding and the patch embedding."""
    patches = Matrix.of(weights, PATCH_EMBEDDING).shape
    fixed = _stored_bytes(formats.vision(PATCH_EMBEDDING, patches), patches) + _NPY_HEADER
    return (fixed + spec.vocabulary * spec.hidden_size * formats.embedding().itemsize) / _MB


def _stored_bytes(format: WeightFormat, shape: Shape) -> int:
    """Bytes of a matrix in a weight file, whose tensors begin on pages of their own."""
    sizes = (tensor.size for tensor in format.tensors(shape).values())
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)
