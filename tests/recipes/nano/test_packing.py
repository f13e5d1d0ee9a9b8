"""Rows that are full: a block that does not fit is left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from awares_edge.vision import Grid
from recipes.nano.packing import Packer, Row, View

PACKER = Packer()
LOW = View(np.arange(16), Grid(8, 8))


@pytest.mark.parametrize(
    "add",
    [
        lambda row: PACKER.direct(row, "Is there a total?", "yes", "low presence"),
        lambda row: PACKER.describe(row, "What is written here?", [("A", "K47"), ("B", "M12")]),
        lambda row: PACKER.call(row, "What is the total?", ["0"]),
        lambda row: PACKER.call(row, "What is the total?", ["0"], [LOW], "123", "crop"),
    ],
    ids=["direct", "describe", "call", "two turns"],
)
def test_a_block_that_does_not_fit_leaves_the_row_unchanged(add: Callable[[Row], None]) -> None:
    roomy = PACKER.begin(224, LOW)
    begun = roomy.used
    add(roomy)
    needed = roomy.used
    assert needed > begun
    for length, fits in ((needed, True), (needed - 1, False)):
        row = PACKER.begin(length, LOW)
        add(row)
        assert row.used == (needed if fits else begun)
        assert [row.blocks == 1, bool(row.units), bool(row.weights.any())] == [fits] * 3
