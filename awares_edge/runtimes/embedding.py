"""The embedding of runtimes whose graphs take embeddings: looked up here, pictures spliced in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.bundle.arrays import map_matrix
from awares_edge.bundle.store import Bundle
from awares_edge.runtimes.base import Piece, TextSegment
from awares_edge.spec import EMBEDDING_NAME


class Embedding:
    """Rows of tokens, mapped into memory: only rows that are used are read."""

    def __init__(self, table: NDArray[Any]) -> None:
        self._table = table

    @classmethod
    def open(cls, bundle: Bundle) -> Embedding:
        """Map a bundle's embedding.

        Raises:
            BundleError: the file is not an array, or not the manifest's model's.
        """
        path, model = bundle.path(EMBEDDING_NAME), bundle.manifest.model
        return cls(map_matrix(path, (model.vocabulary, model.hidden_size)))

    def of(self, piece: Piece) -> NDArray[np.float32]:
        """float32 [piece.cells, hidden]: token rows, and features of pictures in their places."""
        embeds = np.empty((piece.cells, self._table.shape[1]), dtype=np.float32)
        start = 0
        for part in piece.parts:
            stop = start + part.cells
            if isinstance(part, TextSegment):
                embeds[start:stop] = self._table[np.asarray(part.ids)]
            else:
                embeds[start:stop] = part.features
            start = stop
        return embeds
