"""Agreement and drift are measured as they are defined."""

from dataclasses import replace

import numpy as np
import pytest

from awares_edge.errors import InputError
from awares_edge.evaluation.parity import Limits, Recording, compare, record
from awares_edge.evaluation.parity.numbers import (
    cosine,
    drifts,
    intersection_over_union,
    parting,
    stage_cosines,
)
from tests.evaluation.parity.conftest import ABOUT


def with_rows(recording, **changes):
    """The same recording, with the first row changed."""
    first, *rest = recording.rows
    return Recording(recording.about, (replace(first, **changes), *rest), recording.probes)


def with_logits(recording, change):
    number, probe = next(iter(recording.probes.items()))
    logits = probe.logits.copy()
    change(logits)
    probes = {**recording.probes, number: replace(probe, logits=logits)}
    return Recording(recording.about, recording.rows, probes)


def test_a_recording_agrees_with_itself(recording):
    found = compare(recording, recording, Limits(drift=0.0))
    assert found["agrees"]
    assert found["decisions"]["same"]["share"] == found["answers"]["share"] == 1.0
    assert found["decisions"]["iou"] == 1.0
    assert found["decisions"]["call_rate_shift"] == 0.0
    assert found["first_to_diverge"] is None
    assert found["differing"] == []
    assert {p["phase"] for p in found["drift"]} == {"first turn", "call", "after crops", "decode"}
    assert all(phase["difference"]["max"] == phase["kl"]["max"] == 0 for phase in found["drift"])
    assert [stage["min"] for stage in found["stages"]] == [1.0] * 4


def test_accuracy_is_over_the_questions_whose_answer_is_known(recording):
    wrong = with_rows(recording, right=False)
    unknown = with_rows(recording, right=None)
    count = len(recording.rows)
    right = sum(row.right for row in recording.rows)
    assert recording.rows[0].right
    assert compare(recording, wrong, Limits())["right"]["candidate"]["count"] == right - 1
    found = compare(recording, unknown, Limits())["right"]["candidate"]
    assert found["share"] == pytest.approx((right - 1) / (count - 1), abs=1e-4)
    rows = tuple(replace(row, right=None) for row in recording.rows)
    none = Recording(recording.about, rows, {})
    assert compare(none, none, Limits())["right"] == {"reference": None, "candidate": None}


def test_another_answer_counts_against_answers_alone(recording):
    found = compare(recording, with_rows(recording, answer="else"), Limits())
    assert found["answers"]["count"] == len(recording.rows) - 1
    assert found["decisions"]["same"]["share"] == 1.0
    assert not found["agrees"]
    assert [c["check"] for c in found["checks"] if not c["ok"]] == ["answers"]
    assert found["differing"][0]["candidate"]["answer"] == "else"


def test_the_order_of_regions_is_no_decision_and_the_regions_are(recording):
    boxes = (("0", (0, 0, 9, 9)), ("3", (9, 9, 18, 18)))
    ours = with_rows(recording, called=True, calls=(boxes,))
    swapped = with_rows(recording, called=True, calls=(boxes[::-1],))
    one = with_rows(recording, called=True, calls=(boxes[:1],))
    count = len(recording.rows)
    assert compare(ours, swapped, Limits())["decisions"]["same"]["count"] == count
    found = compare(ours, one, Limits())["decisions"]
    assert found["same"]["count"] == count - 1
    assert found["same_call"]["count"] == count
    called = sum(row.called for row in ours.rows)
    assert found["iou"] == pytest.approx((called - 0.5) / called, abs=1e-4)


def test_a_call_that_moved_to_a_later_turn_is_another_decision(recording):
    a, b = ("0", (0, 0, 9, 9)), ("3", (9, 9, 18, 18))
    together = with_rows(recording, called=True, calls=((a, b),))
    apart = with_rows(recording, called=True, calls=((a,), (b,)))
    found = compare(together, apart, Limits())["decisions"]
    assert found["same"]["count"] == len(recording.rows) - 1
    assert found["iou"] == 1.0


def test_calls_more_often_shift_the_rate(recording):
    direct = [row for row in recording.rows if not row.called]
    rows = tuple(replace(row, called=True) for row in recording.rows)
    found = compare(recording, Recording(recording.about, rows, {}), Limits())["decisions"]
    assert found["call_rate_shift"] == pytest.approx(len(direct) / len(rows), abs=1e-4)


def test_drift_is_the_largest_difference_over_the_deviation(recording):
    def change(logits):
        logits[0, 3] += 0.25 * logits[0].std()

    changed = with_logits(recording, change)
    first = next(iter(recording.probes))
    found = drifts(recording.probes[first], changed.probes[first])
    assert found[0].difference == pytest.approx(0.25, rel=1e-3)
    assert [d.difference for d in found[1:]] == [0.0] * (len(found) - 1)
    assert compare(recording, changed, Limits(drift=0.26))["agrees"]
    assert not compare(recording, changed, Limits(drift=0.24))["agrees"]


def test_kl_is_the_divergence_of_the_two_distributions(recording):
    def change(logits):
        logits[0] *= 0.5

    first = next(iter(recording.probes))
    ours = recording.probes[first].logits[0].astype(np.float64)
    p, q = (np.exp(x) / np.exp(x).sum() for x in (ours, ours * 0.5))
    found = drifts(recording.probes[first], with_logits(recording, change).probes[first])
    assert found[0].kl == pytest.approx(float((p * np.log(p / q)).sum()), rel=1e-4)


def test_the_margin_says_how_sure_the_reference_was_where_they_differ(recording):
    def change(logits):
        logits[0, logits[0].argmin()] = logits[0].max() + 1

    changed = with_logits(recording, change)
    found = compare(recording, changed, Limits())["top1"]
    row = next(iter(recording.probes.values())).logits[0]
    assert found["differ"] == 1
    assert found["margin"]["max"] == pytest.approx((row.max() - row.min()) / row.std(), rel=1e-4)


def test_where_two_replies_part(recording):
    row = recording.rows[0]
    head, *_ = row.replies
    other = replace(row, replies=((*head[:-1], head[-1] + 1),))
    assert parting(row, other) == (0, len(head) - 1, row.margins[0][len(head) - 1])
    shorter = replace(row, replies=(head[:-1],))
    assert parting(row, shorter)[1] == len(head) - 1
    longer = replace(row, replies=((*head, 7),))
    assert parting(row, longer) == (0, len(head), row.margins[0][len(head)])
    assert parting(row, row) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([(0, 0, 2, 2)], [(0, 0, 2, 2)], 1.0),
        ([(0, 0, 2, 2)], [(2, 2, 4, 4)], 0.0),
        ([(0, 0, 2, 2)], [(1, 0, 3, 2)], 2 / 6),
        ([(0, 0, 4, 4)], [(0, 0, 2, 4), (1, 0, 4, 4)], 1.0),
        ([(0, 0, 2, 2)], [], 0.0),
        ([], [], 1.0),
    ],
)
def test_overlap_of_regions(ours, theirs, expected):
    assert intersection_over_union(ours, theirs) == pytest.approx(expected)


class TestStages:
    """The first stage to diverge is where the error was put in."""

    @pytest.mark.parametrize(
        ("sizes", "stage"),
        [({"features": 0.2}, "vision features"), ({"logits": 0.2}, "first logits"), ({}, None)],
    )
    def test_names_the_first_one(self, disturbed, questions, recording, sizes, stage):
        found = record(disturbed(**sizes), ABOUT, questions, forced=recording)
        assert compare(recording, found, Limits(cosine=0.99))["first_to_diverge"] == stage

    def test_other_pixels_come_first_of_all(self, recording):
        probe = next(iter(recording.probes.values()))
        darker = replace(probe.view, pixels=probe.view.pixels - 2)
        assert stage_cosines(probe, replace(probe, view=darker))["pixels"] < 0.99

    def test_features_that_a_runtime_hides_are_left_out(self, recording):
        probe = next(iter(recording.probes.values()))
        hidden = replace(probe, features=(None,) * len(probe.features))
        assert "vision features" not in stage_cosines(probe, hidden)

    def test_cosine(self):
        assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(2**-0.5)
        assert cosine(np.zeros(2), np.array([1.0, 0.0])) == 0.0


def test_noise_is_measured_at_its_size(disturbed, questions, recording):
    """Gaussian noise of 1% of the deviation: the largest of 512 lies between 2 and 6 of them."""
    found = record(disturbed(logits=0.01), ABOUT, questions, forced=recording)
    for phase in compare(recording, found, Limits())["drift"]:
        assert 0.02 < phase["difference"]["median"] < 0.06


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("protocol_sha256", "0", "the same protocol"),
        ("questions_sha256", "0", "the same list of questions"),
        ("vocabulary", 7, "the same vocabulary"),
        ("max_new_tokens", 7, "the same limit of new tokens"),
    ],
)
def test_what_was_asked_otherwise_is_not_compared(recording, key, value, message):
    other = Recording({**recording.about, key: value}, recording.rows, recording.probes)
    with pytest.raises(InputError, match=message):
        compare(recording, other, Limits())
