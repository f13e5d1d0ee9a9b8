"""The embedding of runtimes whose graphs take embeddings: looked up here, pictures spliced in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awares_edge.bundle.arrays import map_matrix
from awares_edge.bundle.store import Bundle
from awares_edge.errors import SessionError
from awares_edge.runtimes.base import Segment, TextSegment
from awares_edge.spec import EMBEDDING_NAME


class Embedding:
    """Rows of tokens, mapped into memory: only those that are used are ever read."""

    def __init__(self, table: NDArray[Any]) -> None:
        self._table = table

    @classmethod
    def open(cls, bundle: Bundle) -> Embedding:
        """Map a bundle's embedding.

        Raises:
            BundleError: it is no array, or not of the manifest's model.
        """
        path, model = bundle.path(EMBEDDING_NAME), bundle.manifest.model
        return cls(map_matrix(path, (model.vocabulary, model.hidden_size)))

    def of(self, segments: Sequence[Segment], count: int) -> NDArray[np.float32]:
        """float32 [count, hidden]: token rows, and features of pictures in their places.

        Raises:
            SessionError: a token id that the vocabulary does not have.
        """
        vocabulary, hidden = self._table.shape
        embeds = np.empty((count, hidden), dtype=np.float32)
        start = 0
        for segment in segments:
            stop = start + segment.cells
            if isinstance(segment, TextSegment):
                ids = np.asarray(segment.ids, dtype=np.int64)
                if ids.min() < 0 or ids.max() >= vocabulary:
                    raise SessionError(
                        f"token ids must be from 0 to {vocabulary - 1}: another tokenizer?"
                    )
                embeds[start:stop] = self._table[ids]
            else:
                embeds[start:stop] = segment.image.features
            start = stop
        return embeds
