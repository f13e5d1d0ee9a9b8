"""Sums of the products of all pairs of inputs, for GPTQ: the large part of a measurement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from awares_edge.checkpoint.tensorfile import Array
from awares_edge.errors import CheckpointError
from awares_edge.export.hessians import LEAST_BLOCK, Hessian, input_owner, upper_triangle
from awares_edge.export.measured import Measured

_ROWS = 256
"""Inputs that are multiplied at a time: a decoded token alone would cost as much as they do."""


class Hessians:
    """The mean of x xᵀ over the inputs x of each matrix.

    In memory it takes 4 bytes for each pair of inputs of each matrix. Sums are kept in float32:
    what that rounds is far below GPTQ's damping.

    Args:
        limit: most inputs of a matrix. Wider ones are left out, and those with rows that no 4-bit
            block divides.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[str, list[NDArray[np.float32]]] = {}
        self._counts: dict[str, int] = {}
        self._sums: dict[str, NDArray[np.float32]] = {}

    def add(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Add inputs float32 [n, in] of one layer."""
        width = inputs.shape[1]
        if width > self._limit or width % LEAST_BLOCK or input_owner(name) != name:
            return
        waiting = self._waiting.setdefault(name, [])
        waiting.append(inputs.copy())
        if sum(map(len, waiting)) >= _ROWS:
            self._multiply(name)

    def take(self) -> dict[str, Hessian]:
        """All of them, by layer. What was summed is gone then: memory for both is never needed.

        Raises:
            CheckpointError: products overflow.
        """
        found = {}
        for name in list(self._waiting):
            self._multiply(name)
        for name in list(self._sums):
            sums = self._sums.pop(name)
            triangle = upper_triangle(sums / np.float32(self._counts[name]))
            if not np.isfinite(triangle).all():
                raise CheckpointError(f"the inputs of {name} are too large to multiply")
            found[name] = Hessian(name, len(sums), _read(triangle))
        return found

    def _multiply(self, name: str) -> None:
        """Add the products of what waits."""
        rows = np.concatenate(self._waiting.pop(name))
        self._counts[name] = self._counts.get(name, 0) + len(rows)
        with np.errstate(over="ignore"):  # found by `take`
            product = rows.T @ rows
        if name in self._sums:
            self._sums[name] += product
        else:
            self._sums[name] = product


def _read(triangle: Array) -> Callable[[], Array]:
    return lambda: triangle


def too_wide(measured: Measured) -> list[str]:
    """Matrices that could be stored in 4 bits, but whose products were left out."""
    return [
        name
        for name, inputs in measured.inputs.items()
        if len(inputs.largest) % LEAST_BLOCK == 0 and input_owner(name) not in measured.hessians
    ]
