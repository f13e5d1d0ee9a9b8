"""The evaluation counts what it should, on a scripted model."""

from __future__ import annotations

import numpy as np
import pytest

from awares_edge import scripted
from awares_edge.errors import InputError
from awares_edge.evaluation.synthetic import balanced, evaluate, questions
from awares_edge.synth import generate
from awares_edge.synth.oracle import smallest_crops

LIMIT = 18


def _asked(limit: int = LIMIT) -> list[tuple[str, tuple[str, ...]]]:
    """Right answers and right crops of the test questions, in order."""
    return [
        (q.answer, smallest_crops(q.evidence) if q.size == "small" else ())
        for _, _, chosen in questions("test", 0, limit)
        for q in chosen
    ]


def _perfect(limit: int = LIMIT) -> list[str]:
    replies = []
    for answer, crops in _asked(limit):
        if crops:
            replies.append(f"GET_CROPS: [{', '.join(repr(c) for c in crops)}]")
        replies.append(answer)
    return replies


def test_a_perfect_model_scores_one_everywhere() -> None:
    with scripted(_perfect(), protocol="nano") as model:
        result = evaluate(model, "awares", limit=LIMIT).to_dict()
    assert result["questions"] == LIMIT
    for name in ("accuracy", "call_precision", "call_recall", "right_crop", "valid_calls"):
        assert result[name] == 1.0, name
    shares = {"0": 0.25, "1": 0.25, "2": 0.25, "3": 0.25, "4": 0.25, "all": 1.0}
    rtr = sum(0.25 + sum(shares.get(c, 0.5) for c in crops) for _, crops in _asked()) / LIMIT
    assert result["rtr"] == pytest.approx(rtr, abs=1e-3)


def test_a_model_that_never_looks_is_told_apart() -> None:
    with scripted(["nothing"] * LIMIT, protocol="nano") as model:
        result = evaluate(model, "awares", limit=LIMIT).to_dict()
    assert result["accuracy"] == 0.0
    assert result["rtr"] == 0.25
    assert result["direct_share"] == 1.0
    assert result["call_recall"] == 0.0
    assert result["needs_zoom_share"] > 0


def test_oracle_crop_spends_what_the_evidence_needs() -> None:
    # With forced crops the script's reply to turn 1 is passed over.
    replies = [r for answer, crops in _asked() for r in (["-", answer] if crops else [answer])]
    with scripted(replies, protocol="nano") as model:
        result = evaluate(model, "oracle-crop", limit=LIMIT).to_dict()
    assert result["accuracy"] == 1.0
    assert result["right_crop"] == 1.0


def test_always_full_asks_again_with_the_whole_picture() -> None:
    replies = []
    for answer, crops in _asked(6):
        replies += ["GET_CROPS: ['0']", "wrong", "-", answer] if crops else [answer]
    with scripted(replies, protocol="nano") as model:
        report = evaluate(model, "always-full", limit=6)
    assert report.to_dict()["accuracy"] == 1.0
    assert {o.crops for o in report.outcomes} <= {(), ("all",)}
    assert {o.visual_tokens for o in report.outcomes} <= {16, 80}


def test_balanced_takes_both_kinds() -> None:
    sample = generate("train", 0, 3)
    rng = np.random.default_rng(0)
    chosen = balanced(rng, sample.questions, 5)
    assert len(chosen) == 5
    assert len({id(q) for q in chosen}) == 5


def test_unknown_mode() -> None:
    with scripted([], protocol="nano") as model, pytest.raises(InputError):
        evaluate(model, "sideways", limit=1)  # type: ignore[arg-type]
