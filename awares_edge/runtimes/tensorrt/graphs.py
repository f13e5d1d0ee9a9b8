"""What a session needs of the two engines; implemented on a GPU, and by stand-ins in tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Inputs = Mapping[str, NDArray[Any]]


class TextGraph(Protocol):
    """The language model's engine and the caches it reads."""

    def new_cache(self) -> Any:
        """Buffers for one conversation."""
        ...

    def append(self, cache: Any, inputs: Inputs, start: int) -> NDArray[np.float32]:
        """Run one call that writes its S tokens to cells [start, start + S) of the cache.

        Returns:
            float32 [K, vocabulary].
        """
        ...

    def copy_cache(self, cache: Any, cells: int) -> Any:
        """New buffers that start with the first `cells` cells of others."""
        ...

    def free_cache(self, cache: Any) -> None:
        """Give a cache's memory back."""
        ...

    def close(self) -> None: ...


class VisionGraph(Protocol):
    """The vision tower's engine."""

    def encode(self, inputs: Inputs) -> NDArray[np.float32]:
        """float32 [T, hidden] features of one picture."""
        ...

    def close(self) -> None: ...
