"""A session's cache as arrays on the host: what is written to a file, and read from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from awares_edge.errors import SessionError
from awares_edge.runtimes.segments import Mark


@dataclass(frozen=True, slots=True)
class SavedSession:
    """A copy of a session's cells, for `Runtime.restore` of the same model in the same runtime, in
    this process or a later one.

    Attributes:
        mark: cells and position at the time of saving.
        arrays: by name, what the runtime needs; each runtime has its own.
    """

    mark: Mark
    arrays: dict[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    def array(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
        """One of the arrays; -1 in `shape` stands for any length.

        Raises:
            SessionError: it is missing, or of another dtype or shape.
        """
        found = self.arrays.get(name)
        if (
            found is None
            or found.dtype != np.dtype(dtype)
            or len(found.shape) != len(shape)
            or any(want not in (-1, has) for want, has in zip(shape, found.shape, strict=True))
        ):
            raise SessionError("the saved session is of another model: open an empty one")
        return found
