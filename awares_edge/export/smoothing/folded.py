"""Weights whose rows and columns are scaled as they are read."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from awares_edge.checkpoint.tensorfile import Array, Tensor, Weights, finite
from awares_edge.export.smoothing.sites import Site


@dataclass
class Folded:
    """A model's weights with scales folded in.

    Attributes:
        rows: by tensor, [rows]: what each row is multiplied by.
        columns: by tensor, [in]: what each column is multiplied by.
    """

    weights: Weights
    rows: dict[str, Array] = field(default_factory=dict)
    columns: dict[str, Array] = field(default_factory=dict)

    def fold(self, site: Site, scales: Array) -> None:
        """Divide the inputs of a site by scales [count], and multiply what reads them."""
        for name in site.sources:
            length = self.weights.tensor(name).shape[0]
            rows = self.rows.setdefault(name, np.ones(length, dtype=np.float32))
            rows[site.start : site.start + site.count] /= scales
        for matrix in site.matrices:
            for part in matrix.split("+"):
                self.columns[part] = scales[site.scales]

    def tensor(self, name: str) -> Tensor:
        rows, columns = self.rows.get(name), self.columns.get(name)
        tensor = self.weights.tensor(name)
        return tensor if rows is None and columns is None else _Scaled(tensor, rows, columns)


@dataclass(frozen=True, slots=True)
class _Scaled:
    base: Tensor
    by_row: Array | None
    by_column: Array | None

    @property
    def name(self) -> str:
        return self.base.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    def rows(self, start: int, stop: int) -> Array:
        found = self.base.rows(start, stop)
        with np.errstate(over="ignore"):
            if self.by_row is not None:
                factors = self.by_row[start:stop]
                found = found * factors.reshape(-1, *(1,) * (found.ndim - 1))
            if self.by_column is not None:
                found = found * self.by_column
        return finite(found, self.name)
