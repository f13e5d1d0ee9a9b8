"""Exact-match counts over packed batches: reading, policy and localisation apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPELT = ("full small", "full large", "crop")
"""Kinds whose single characters are counted too."""


def spans(
    batch: dict[str, Any], predicted: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.bool_]]]:
    """Each scored span of a batch: its kind, its likeliest tokens, and which of them are right.

    Spans that the batch's places cut off are left out; ``predicted`` is [len(places)].
    """
    places, targets = batch["places"].cpu().numpy(), batch["targets"].cpu().numpy()
    live = batch["weights"].cpu().numpy() > 0
    order = {int(p): k for k, p in enumerate(places) if live[k]}
    for kind, start, stop in batch["units"]:
        at = [order[p] for p in range(start, stop) if p in order]
        if len(at) == stop - start:
            yield kind, predicted[at], predicted[at] == targets[at]


class Scores:
    """Share of spans predicted whole, by kind; of calls made, calls held back, crops right.

    "called" is the share of needed calls whose first token was predicted, "held" that of
    direct answers that did not begin with a call, "locate" the right crop of a named thing.
    """

    def __init__(self, call_token: int) -> None:
        self.call_token = call_token
        self.hits: dict[str, int] = defaultdict(int)
        self.total: dict[str, int] = defaultdict(int)

    def add(self, batch: dict[str, Any], predicted: NDArray[np.int64]) -> None:
        """Count one batch; ``predicted`` [len(places)] are the likeliest tokens."""
        for kind, said, right in spans(batch, predicted):
            self._count(kind, bool(right.all()))
            if kind in SPELT:
                for hit in right[:-1]:
                    self._count(f"{kind} chars", bool(hit))
            if kind == "call":
                self._count("called", bool(right[0]))
            if kind.startswith("low"):
                self._count("held", said[0] != self.call_token)

    def _count(self, kind: str, hit: bool) -> None:
        self.hits[kind] += int(hit)
        self.total[kind] += 1

    def take(self) -> dict[str, float]:
        """Shares since the last call."""
        out = {k: round(self.hits[k] / n, 4) for k, n in sorted(self.total.items())}
        self.hits.clear()
        self.total.clear()
        return out
