"""One choice for each matrix, so that drifts add up to the least within one budget or several.

By Lagrangian relaxation: each cost has a price, each matrix takes the choice with the least drift
plus price times cost, and prices are raised until the mix is within the budgets. No other mix that
costs as much drifts less. What is left of the budgets is then spent greedily.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_EXPONENT = 60.0
"""Prices go from 2 ** -60, where costs do not matter, to 2 ** 60, where nothing else does: the
largest drift and the budgets count as 1."""
_HALVINGS = 48
Floats: TypeAlias = NDArray[np.float64]
Columns: TypeAlias = NDArray[np.intp]
"""The chosen column of each row."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to store a matrix.

    Attributes:
        format: its name.
        costs: what it takes of each budget.
        drift: squared drift of decisions.
    """

    format: str
    costs: tuple[float, ...]
    drift: float


def least_drift(
    options: Mapping[str, Sequence[Choice]], budgets: Sequence[float]
) -> dict[str, Choice] | None:
    """The choice of each matrix, or None where the budgets cannot hold.

    Args:
        options: by matrix, every way to store it.
        budgets: above 0, for each cost of a choice; infinite for one that does not matter.
    """
    columns = _best(*_arrays(options), budgets)
    if columns is None:
        return None
    return {
        name: ways[column] for (name, ways), column in zip(options.items(), columns, strict=True)
    }


def cheapest(options: Mapping[str, Sequence[Choice]], budgets: Sequence[float]) -> float:
    """The least that all matrices cost of the last budget, within the others.

    Args:
        options: by matrix, every way to store it.
        budgets: of all costs but the last one.

    Returns:
        the cost, exact without other budgets; infinite where one of them cannot hold.
    """
    *costs, last = _arrays(options)[1]
    columns = _best(last, np.array(costs), budgets)
    return float("inf") if columns is None else _sum(last, columns)


def _arrays(options: Mapping[str, Sequence[Choice]]) -> tuple[Floats, Floats]:
    """Drifts [matrices, choices] and costs [budgets, matrices, choices]; where a matrix has fewer
    choices its last one is repeated."""
    width = max(map(len, options.values()))
    rows = [[*ways, *[ways[-1]] * (width - len(ways))] for ways in options.values()]
    costs = np.array([[way.costs for way in row] for row in rows], dtype=np.float64)
    return np.array([[way.drift for way in row] for row in rows]), np.moveaxis(costs, 2, 0)


def _best(value: Floats, costs: Floats, budgets: Sequence[float]) -> Columns | None:
    """The columns with the least sum of `value` within the budgets, or nearly so."""
    if len(budgets) == 0:
        return _least(value)
    *others, budget = budgets
    last = costs[-1]
    cheap = _best(last, costs[:-1], others)
    if cheap is None or _sum(last, cheap) > budget:
        return None
    scaled = last / budget * max(float(value.max()), 1e-300)

    def priced(price: float) -> Columns | None:
        """The best columns at this price of the last cost; None where they exceed its budget."""
        columns = _best(value + price * scaled, costs[:-1], others)
        return columns if columns is not None and _sum(last, columns) <= budget else None

    found = _lowest(priced)
    return _spend(value, costs, budgets, cheap if found is None else found)


def _lowest(priced: Callable[[float], Columns | None]) -> Columns | None:
    """What the lowest price gives for which there is a mix; None where no price has one."""
    if (found := priced(0.0)) is not None:
        return found
    low, high = -_EXPONENT, _EXPONENT
    if (found := priced(2.0**high)) is None:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if (at := priced(2.0**middle)) is None:
            low = middle
        else:
            high, found = middle, at
    return found


def _spend(value: Floats, costs: Floats, budgets: Sequence[float], columns: Columns) -> Columns:
    """Take the step that saves most of `value` for what it costs, as long as one fits."""
    columns, limits = columns.copy(), np.asarray(budgets)[:, None, None]
    while True:
        room = limits - np.array([_sum(cost, columns) for cost in costs])[:, None, None]
        saved = _picked(value, columns) - value
        extra = costs - np.stack([_picked(cost, columns) for cost in costs])
        fits = (saved > 0) & (extra <= room).all(axis=0)
        if not fits.any():
            return columns
        gain = np.where(fits, saved / np.maximum((extra / limits).sum(axis=0), 1e-12), -np.inf)
        row, column = np.unravel_index(gain.argmax(), gain.shape)
        columns[row] = column


def _least(value: Floats) -> Columns:
    columns: Columns = value.argmin(axis=1)
    return columns


def _picked(values: Floats, columns: Columns) -> Floats:
    """The values [matrices, 1] of these columns."""
    found: Floats = np.take_along_axis(values, columns[:, None], axis=1)
    return found


def _sum(values: Floats, columns: Columns) -> float:
    return float(_picked(values, columns).sum())
