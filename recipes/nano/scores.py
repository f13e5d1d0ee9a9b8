"""Exact-match scores over packed batches: reading, policy and localisation separately."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPELT = ("full small", "full large", "crop")
"""Kinds whose characters are also scored one by one."""


def spans(
    batch: dict[str, Any], predicted: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.bool_]]]:
    """For each scored span of a batch: its kind, its predicted tokens, and which are right.

    Spans cut off by the batch's limit of places are left out; ``predicted`` is [len(places)].
    """
    places, targets = batch["places"].cpu().numpy(), batch["targets"].cpu().numpy()
    live = batch["weights"].cpu().numpy() > 0
    order = {int(p): k for k, p in enumerate(places) if live[k]}
    for kind, start, stop in batch["units"]:
        at = [order[p] for p in range(start, stop) if p in order]
        if len(at) == stop - start:
            yield kind, predicted[at], predicted[at] == targets[at]


class Scores:
    """Share of spans predicted without an error, by kind, and two scores of the policy.

    "called" is the share of needed calls whose first token was predicted, "held" the share of
    direct answers that did not begin with a call.
    """

    def __init__(self, call_token: int) -> None:
        self.call_token = call_token
        self.hits: dict[str, int] = defaultdict(int)
        self.total: dict[str, int] = defaultdict(int)

    def add(self, batch: dict[str, Any], predicted: NDArray[np.int64]) -> None:
        """Count one batch; ``predicted`` [len(places)] are the most likely tokens."""
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
