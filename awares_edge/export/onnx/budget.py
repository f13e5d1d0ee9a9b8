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
from awares_edge.export.smoothing.sites import find_sites
from awares_edge.export.times import Times
from awares_edge.spec import ModelSpec

_MB = 1e6
_NPY_HEADER = 128
Shape: TypeAlias = tuple[int, int]
Options: TypeAlias = Mapping[str, list[Choice]]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a mix may cost; at least one of the two is given.

    Attributes:
        mb: most MB of the embedding and of both weight files.
        ms: most milliseconds of a two-turn question.
        times: what the device needs; None only where `ms` is.
    """

    mb: float | None
    ms: float | None = None
    times: Times | None = None


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
    """One budget: what is left of it for choices, and what cannot be chosen."""

    unit: str
    most: float
    fixed: float

    @property
    def room(self) -> float:
        return self.most - self.fixed

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
    limits = []
    if budget.mb is not None:
        limits.append(_Limit("MB", budget.mb, _fixed_bytes(spec, weights, formats) / _MB))
    if budget.ms is not None and budget.times is not None:
        limits.append(_Limit("ms", budget.ms, budget.times.rest_ms))
    options = {}
    for name in (name for site in find_sites(spec) for name in site.matrices):
        shape = Matrix.of(weights, *name.split("+")).shape
        drifts = measured.drifts[layer_name(name.split("+")[0])]
        options[name] = [
            Choice(kind, _costs(name, shape, kind, format, budget), drifts.get(kind, 0.0))
            for kind, format in formats.options(name, shape).items()
        ]
    mix = _fit(options, limits)
    return Mix(mix, None if budget.times is None else budget.times.estimate(mix))


def _fit(options: Options, limits: list[_Limit]) -> dict[str, str]:
    """
    Raises:
        ExportError: no mix is within the limits; the message names the smallest one that is.
    """
    rooms = [limit.room for limit in limits]
    if min(rooms) > 0 and (found := least_drift(options, rooms)) is not None:
        return {name: choice.format for name, choice in found.items()}
    for place, limit in enumerate(limits):
        least = cheapest({name: _only(ways, place) for name, ways in options.items()}, [])
        if least > limit.room:
            raise ExportError(
                f"a budget of {limit.most:.10g} {limit.unit} cannot hold this model: give at least "
                f"{limit.least(least)}"
            )
    size, time = limits
    raise ExportError(
        f"no mix of {size.most:.10g} MB takes at most {time.most:.10g} ms: give at least "
        f"{time.least(cheapest(options, rooms[:1]))}, or more MB"
    )


def _only(ways: list[Choice], place: int) -> list[Choice]:
    """Choices with one of their costs."""
    return [Choice(way.format, (way.costs[place],), way.drift) for way in ways]


def _costs(
    name: str, shape: Shape, kind: str, format: WeightFormat, budget: Budget
) -> tuple[float, ...]:
    """MB and milliseconds of a matrix, as far as there are budgets for them.

    A tied head in a float format reads the embedding's file.
    """
    costs = []
    if budget.mb is not None:
        free = name == EMBEDDING and format.rounding is None
        costs.append(0.0 if free else _stored_bytes(format, shape) / _MB)
    if budget.ms is not None and budget.times is not None:
        costs.append(budget.times.matrices[name].ms(kind))
    return tuple(costs)


def _fixed_bytes(spec: ModelSpec, weights: Weights, formats: Formats) -> int:
    """Of the embedding and the patch embedding."""
    patches = Matrix.of(weights, PATCH_EMBEDDING).shape
    fixed = _stored_bytes(formats.vision(PATCH_EMBEDDING, patches), patches) + _NPY_HEADER
    return fixed + spec.vocabulary * spec.hidden_size * formats.embedding().itemsize


def _stored_bytes(format: WeightFormat, shape: Shape) -> int:
    """Bytes of a matrix in a weight file, whose tensors begin on pages of their own."""
    sizes = (tensor.size for tensor in format.tensors(shape).values())
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)
