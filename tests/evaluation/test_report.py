"""The numbers of a report, against numbers worked out by hand."""

from __future__ import annotations

import json

import pytest

from awares_edge.evaluation.report import Outcome, Report
from benchmarks.ladder import summary
from benchmarks.markdown import table
from benchmarks.nano_card import by_outcome, modes_table, targets


def outcome(
    kind: str,
    size: str,
    *,
    right: bool,
    crops: tuple[str, ...] = (),
    status: str = "none",
    sufficient: bool = False,
    tokens: tuple[int, int] = (16, 64),
    ms: float = 10.0,
) -> Outcome:
    return Outcome(
        family="scene",
        kind=kind,
        size=size,
        question="?",
        expected="A1",
        answer="A1" if right else "B2",
        correct=right,
        needs_zoom=size == "small",
        crops=crops,
        crops_sufficient=sufficient,
        call_status=status,
        visual_tokens=tokens[0],
        full_tokens=tokens[1],
        total_ms=ms,
    )


SIX = [
    outcome(
        "label", "small", right=True, crops=("0",), status="ok", sufficient=True, tokens=(32, 64)
    ),
    outcome("label", "small", right=False, crops=("1",), status="ok", tokens=(32, 64), ms=20.0),
    outcome(
        "label", "large", right=True, crops=("5",), status="repaired", tokens=(48, 64), ms=30.0
    ),
    # An invalid call is a call, though nothing was sent.
    outcome("label", "large", right=True, status="invalid", tokens=(16, 32), ms=40.0),
    outcome("title", "small", right=True, ms=50.0),
    outcome("count", "none", right=True, ms=120.0),
]
"""Needed: 1, 2, 5. Called: 1 to 4. Both: 1, 2."""


@pytest.fixture(scope="module")
def report() -> dict[str, object]:
    return Report("awares", SIX).to_dict()


def test_accuracy_overall_and_by_need(report: dict[str, object]) -> None:
    assert report["questions"] == 6
    assert report["accuracy"] == pytest.approx(5 / 6, abs=1e-4)
    # Wilson: (5/6 + z^2/12 -+ z sqrt(5/216 + z^2/144)) / (1 + z^2/6), z = 1.96.
    assert report["accuracy_ci"] == pytest.approx([0.4365, 0.9699], abs=2e-4)
    assert report["needs_zoom_share"] == 0.5
    assert report["accuracy_needs_zoom"] == pytest.approx(2 / 3, abs=1e-4)
    assert report["accuracy_other"] == 1.0


def test_calls_against_need(report: dict[str, object]) -> None:
    assert report["call_precision"] == 0.5  # 2 of 4
    assert report["call_recall"] == pytest.approx(2 / 3, abs=1e-4)
    assert report["call_f1"] == pytest.approx(4 / 7, abs=1e-4)
    assert report["valid_calls"] == 0.5  # 1 and 2 of 4
    assert report["right_crop"] == pytest.approx(1 / 3, abs=1e-4)  # 1 of the 3 that needed one
    assert report["right_crop_when_called"] == 0.5  # 1 of the 2 that called


def test_tokens_and_time(report: dict[str, object]) -> None:
    # The mean of each question's share: (1/2 + 1/2 + 3/4 + 1/2 + 1/4 + 1/4) / 6.
    assert report["rtr"] == pytest.approx(2.75 / 6, abs=1e-4)
    assert report["direct_share"] == 0.5
    assert report["ms_mean"] == 45.0
    assert report["ms_p50"] == 35.0
    assert report["ms_p95"] == 102.5  # three quarters of the way from 50 to 120


def test_each_kind_and_size(report: dict[str, object]) -> None:
    assert report["by_kind"] == {
        "count (none)": {"questions": 1, "accuracy": 1.0, "zoomed": 0.0},
        "label (large)": {"questions": 2, "accuracy": 1.0, "zoomed": 0.5},
        "label (small)": {"questions": 2, "accuracy": 0.5, "zoomed": 1.0},
        "title (small)": {"questions": 1, "accuracy": 1.0, "zoomed": 0.0},
    }


def test_more_calls_cost_precision_and_fewer_cost_recall() -> None:
    eager = Report("awares", [*SIX, SIX[2], SIX[2]]).to_dict()
    assert (eager["call_precision"], eager["call_recall"]) == (0.3333, 0.6667)
    shy = Report("awares", [*SIX, SIX[4], SIX[4]]).to_dict()
    assert (shy["call_precision"], shy["call_recall"]) == (0.5, 0.4)


class TestNothingToTakeAShareOf:
    def test_a_model_that_never_calls_has_no_precision(self) -> None:
        report = Report("low", [SIX[4], SIX[5]]).to_dict()
        nothing = ("call_precision", "valid_calls", "right_crop_when_called")
        assert [report[name] for name in nothing] == [None] * 3
        assert report["call_recall"] == report["call_f1"] == report["right_crop"] == 0.0
        assert json.loads(json.dumps(report))["call_precision"] is None

    def test_questions_that_need_no_call_have_no_recall(self) -> None:
        report = Report("awares", [SIX[2]]).to_dict()
        assert (
            report["call_recall"] is report["right_crop"] is report["accuracy_needs_zoom"] is None
        )
        assert report["call_precision"] == report["call_f1"] == 0.0
        assert Report("awares", [SIX[5]]).to_dict()["call_f1"] is None

    def test_no_questions(self) -> None:
        report = Report("awares").to_dict()
        assert report["questions"] == 0
        assert report["accuracy"] is report["ms_p50"] is None
        assert report["accuracy_ci"] == [0.0, 1.0]

    def test_tables_leave_it_blank(self) -> None:
        assert table("a | b", [(None, 0.5)]) == "| a | b |\n|---|---|\n|  | 0.500 |"
        never = Report("awares", [SIX[4], SIX[5]]).to_dict()
        assert summary([never]).splitlines()[-1] == (
            "| awares | 1.000 | 0.250 | 1.000 | 0.000 |  | 0.000 |"
        )
        assert modes_table([never]).endswith("| 0.000 |  | 0.000 |  |")

    def test_a_checkpoint_that_never_calls_misses_the_targets_of_its_calls(self) -> None:
        never = {**Report("awares", [SIX[4], SIX[5]]).to_dict(), "right": [True, False]}
        never["called"] = [False, False]
        met = {name: (value, met) for name, value, _, met in targets(never, never, never)}
        assert met["call precision"] == met["valid calls"] == (None, False)
        assert met["RTR"] == (0.25, True)
        (_, _, recall, precision) = by_outcome(never, never, never)[1]
        assert recall is precision is None
