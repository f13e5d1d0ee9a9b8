"""The mix of formats whose decisions drift least within a budget of bytes.

Drifts are those of one matrix at a time (`export.measured`). Rounding errors of matrices are
independent, so squared drifts are added up: a knapsack, filled greedily by drift saved per byte.
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
from awares_edge.export.smoothing.sites import find_sites
from awares_edge.spec import ModelSpec

MB = 1e6
_NPY_HEADER = 128
Shape: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to store a matrix.

    Attributes:
        format: its name.
        size: bytes in the weight file.
        drift: squared drift of decisions.
    """

    format: str
    size: int
    drift: float


def fit_mix(
    spec: ModelSpec, weights: Weights, formats: Formats, measured: Measured, budget: float
) -> dict[str, str]:
    """The format of each matrix whose format `keep` does not name, by the matrix's name.

    Args:
        budget: bytes of the embedding and of both weight files.

    Raises:
        ExportError: no drifts were measured, or the smallest mix is larger than the budget.
    """
    if not measured.drifts:
        raise ExportError(
            "the calibration file holds no drifts: measure it again with `awares-edge calibrate "
            "weights --sensitivity`"
        )
    patches = Matrix.of(weights, PATCH_EMBEDDING).shape
    fixed = _stored_bytes(formats.vision(PATCH_EMBEDDING, patches), patches) + _NPY_HEADER
    fixed += spec.vocabulary * spec.hidden_size * formats.embedding().itemsize
    options = {}
    for name in (name for site in find_sites(spec) for name in site.matrices):
        shape = Matrix.of(weights, *name.split("+")).shape
        drifts = measured.drifts[layer_name(name.split("+")[0])]
        options[name] = _choices(name, shape, formats.options(name, shape), drifts)
    return fit_budget(options, fixed, budget)


def _choices(
    name: str, shape: Shape, formats: Mapping[str, WeightFormat], drifts: Mapping[str, float]
) -> list[Choice]:
    """Every way to store a matrix; a float format does not drift.

    A tied head in a float format reads the embedding's file.
    """
    found = []
    for kind, format in formats.items():
        free = name == EMBEDDING and format.rounding is None
        size = 0 if free else _stored_bytes(format, shape)
        found.append(Choice(kind, size, drifts.get(kind, 0.0)))
    return found


def _stored_bytes(format: WeightFormat, shape: Shape) -> int:
    """Bytes of a matrix in a weight file, whose tensors begin on pages of their own."""
    sizes = (tensor.size for tensor in format.tensors(shape).values())
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)


def fit_budget(options: Mapping[str, list[Choice]], fixed: int, budget: float) -> dict[str, str]:
    """The format of each matrix.

    Args:
        options: by matrix, every way to store it.
        fixed: bytes of what cannot be chosen.
        budget: bytes of all.

    Raises:
        ExportError: the smallest mix is larger than the budget.
    """
    chosen = {
        name: min(ways, key=lambda way: (way.size, way.drift)) for name, ways in options.items()
    }
    room = budget - fixed - sum(way.size for way in chosen.values())
    if room < 0:
        least = math.ceil((budget - room) / MB * 100) / 100
        raise ExportError(
            f"a budget of {budget / MB:.10g} MB cannot hold this model: give at least {least:g} MB"
        )
    while steps := [
        (_gain(chosen[name], way), name, way)
        for name, ways in options.items()
        for way in ways
        if way.drift < chosen[name].drift and way.size - chosen[name].size <= room
    ]:
        _, name, way = max(steps, key=lambda step: step[:2])
        room -= way.size - chosen[name].size
        chosen[name] = way
    return {name: way.format for name, way in chosen.items()}


def _size_first(way: Choice) -> tuple[int, float]:
    return way.size, way.drift


def _gain(now: Choice, then: Choice) -> float:
    """Drift that is saved for each byte."""
    return (now.drift - then.drift) / max(1, then.size - now.size)
