"""Products of all pairs of a matrix's inputs: what GPTQ needs to know beside the weights.

In the measured file, `NAME.hessian` float32 [n (n + 1) / 2] holds the upper triangle of the mean of
x xᵀ over the inputs x [n] of matrix NAME, row by row. It is read when its matrix is quantized, as
those of a model of 3B parameters take over a gigabyte together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.tensorfile import Array, Stored
from awares_edge.errors import CheckpointError, ExportError

LEAST_BLOCK = 32
"""Inputs of the smallest 4-bit block: a row that it does not divide is never stored in 4 bits."""
_SUFFIX = ".hessian"
_OWNERS = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}
_TOLERANCE = 1e-2
"""Of the diagonal against mean squares that were summed in another order and precision."""


@dataclass(frozen=True, slots=True)
class Hessian:
    """The mean of x xᵀ over the inputs x of a matrix: half the Hessian of the squared error of a
    product, as a function of a row of weights.

    Attributes:
        name: of the matrix, for messages.
        size: inputs of the matrix, n.
        triangle: reads float32 [n (n + 1) / 2], the upper triangle, row by row.
        scales: float32 [n], what each input has been divided by since; None for nothing.
    """

    name: str
    size: int
    triangle: Callable[[], Array]
    scales: Array | None = None

    def divided(self, scales: Array) -> Hessian:
        """Of inputs that are divided by scales [n]."""
        return replace(self, scales=scales if self.scales is None else self.scales * scales)

    def matrix(self) -> NDArray[np.float64]:
        """float64 [n, n].

        Raises:
            ExportError: the file is damaged, or holds what no measurement gives.
        """
        triangle, start = self.triangle(), 0
        full = np.empty((self.size, self.size))
        for row in range(self.size):
            stop = start + self.size - row
            full[row, row:] = full[row:, row] = triangle[start:stop]
            start = stop
        if self.scales is not None:
            full /= self.scales[:, None]
            full /= self.scales
        return full


def input_owner(name: str) -> str:
    """The first of the layers that read the same inputs: query for key and value, gate for up."""
    parent, _, last = name.rpartition(".")
    return f"{parent}.{_OWNERS[last]}" if last in _OWNERS else name


def upper_triangle(matrix: NDArray[np.floating]) -> Array:
    """The upper triangle of [n, n], row by row."""
    rows = [row[start:] for start, row in enumerate(matrix)]
    return np.concatenate(rows).astype(np.float32, copy=False)


def hessian_tensors(hessians: Mapping[str, Hessian]) -> dict[str, Array]:
    """What a file stores, by the names of its tensors."""
    return {f"{name}{_SUFFIX}": found.triangle() for name, found in hessians.items()}


def hessian_shapes(inputs: Mapping[str, int]) -> dict[str, tuple[int]]:
    """Shapes of all tensors that a file may hold.

    Args:
        inputs: of each matrix, by its name without ".weight".
    """
    return {
        f"{name}{_SUFFIX}": (size * (size + 1) // 2,)
        for name, size in inputs.items()
        if input_owner(name) == name
    }


def stored_hessians(
    path: Path, stored: Mapping[str, Stored], squares: Mapping[str, Array]
) -> dict[str, Hessian]:
    """Those that a file holds, by the matrix's name; their numbers are read when they are used.

    Args:
        stored: its tensors, of the shapes of `hessian_shapes`.
        squares: mean square [n] of the inputs of each matrix.
    """
    found = {}
    for name, square in squares.items():
        if (tensor := stored.get(f"{name}{_SUFFIX}")) is not None:
            read = partial(_read, path, tensor, name, square)
            found[name] = Hessian(name, len(square), read)
    return found


def _read(path: Path, tensor: Stored, name: str, square: Array) -> Array:
    try:
        triangle = tensor.rows(0, tensor.shape[0])
    except CheckpointError as error:
        raise ExportError(
            f"{path}: the Hessian of {name} cannot be read or is not finite: measure it again"
        ) from error
    steps = np.arange(len(square), 0, -1)
    diagonal = triangle[np.cumsum(steps) - steps]
    slack = _TOLERANCE * (square + square.mean() * 1e-3)
    if (np.abs(diagonal - square) > slack).any():
        raise ExportError(
            f"{path}: the Hessian of {name} contradicts its mean squares: measure it again"
        )
    return triangle
