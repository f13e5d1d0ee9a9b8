"""The robustness studies: labels are made wrong as their rows say, and crops hold the evidence."""

from __future__ import annotations

import pytest

from awares_edge.training.trajectories import Trajectory
from benchmarks import robustness_granularity as granularity
from benchmarks import robustness_labels as labels

INSIDE = ((10.0, 10.0, 40.0, 40.0),)  # of the top left quadrant alone
ROWS = [
    Trajectory(str(n), "p.png", "?", "a", "HR" if n % 2 else "LR", ("0",) if n % 2 else (), INSIDE)
    for n in range(400)
]


def changes(change, rate):
    pairs = zip(ROWS, labels.changed(ROWS, change, rate), strict=True)
    return {old.id: (old, new) for old, new in pairs if old != new}


@pytest.mark.parametrize(
    ("change", "labels_from"),
    [
        (labels.judge, {"LR", "HR"}),
        (labels.judge_miss, {"HR"}),
        (labels.judge_needless, {"LR"}),
        (labels.oracle, {"HR"}),
    ],
)
def test_a_share_of_the_labels_is_made_wrong(change, labels_from):
    found = changes(change, 0.2)
    assert {old.label for old, _ in found.values()} == labels_from
    assert len(found) == pytest.approx(40 * len(labels_from), rel=0.35)
    for old, new in found.values():
        assert (new.label == old.label) == (change is labels.oracle)
        assert bool(new.crops) == (new.label == "HR")


def test_a_higher_rate_keeps_the_errors_of_a_lower_one():
    assert changes(labels.judge, 0.0) == {}
    assert changes(labels.judge, 0.1).items() <= changes(labels.judge, 0.4).items()


def test_a_wrong_oracle_never_shows_the_evidence():
    for _, new in changes(labels.oracle, 1.0).values():
        assert not {"0", "5", "7"} & set(new.crops)


@pytest.mark.parametrize("crop_set", granularity.SETS, ids=lambda s: s.title)
@pytest.mark.parametrize(
    "evidence",
    [((10, 10, 40, 40),), ((100, 100, 124, 124),), ((5, 5, 20, 20), (200, 200, 220, 220))],
)
def test_what_is_chosen_holds_the_evidence_and_costs_no_more_than_the_whole(crop_set, evidence):
    chosen = crop_set.choose(evidence)
    for box in evidence:
        assert any(granularity._holds(crop, box) for crop in chosen)
    assert granularity.tokens(chosen) <= granularity.FULL_TOKENS


def test_finer_cells_cost_fewer_tokens_where_one_holds_the_evidence():
    small = [(10, 10, 40, 40)]
    costs = {s.title: granularity.tokens(s.choose(small)) for s in granularity.SETS}
    assert (costs["2 x 2"], costs["3 x 3"], costs["4 x 4"]) == (16, 9, 4)
