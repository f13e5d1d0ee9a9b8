"""The evaluation counts what it should, on a scripted model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awares_edge import Answer, AskOptions, Picture, TurnTrace, scripted
from awares_edge.errors import InputError
from awares_edge.evaluation import synthetic
from awares_edge.evaluation.synthetic import (
    PictureControl,
    balanced,
    evaluate,
    questions,
)
from awares_edge.synth import SIDE, generate
from awares_edge.synth.oracle import QUARTERS, smallest_crops

LIMIT = 18
BOX_PROFILE = Path(__file__).parents[2] / "recipes" / "nano" / "box.toml"


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


def _shown_other_crops(limit: int, call: str = "GET_CROPS: ['0']") -> list[str]:
    """A model that calls when it should, is shown other crops, and is right only with those."""
    replies = []
    for answer, crops in _asked(limit):
        # The script's reply to the turn that the given crops replace is passed over.
        replies += [call, "wrong", "-", answer] if crops else [answer]
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


def test_a_picture_that_cannot_be_used_is_skipped_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = list(questions("test", 0, LIMIT))
    family, _, chosen = given[1]
    given[1] = (family, Image.new("RGB", (2010, 10)), chosen)
    monkeypatch.setattr(synthetic, "questions", lambda *_: iter(given))
    with scripted(["?"] * LIMIT, protocol="nano") as model:
        result = evaluate(model, "awares", limit=LIMIT).to_dict()
    assert result["questions"] == LIMIT - len(chosen)
    assert result["skipped"] == 1
    assert result["skipped_pictures"][0].startswith(f"{family}: the given image has 2010x10")


def test_a_model_that_never_looks_is_recognised() -> None:
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
    with scripted(_shown_other_crops(6), protocol="nano") as model:
        report = evaluate(model, "always-full", limit=6)
    assert report.to_dict()["accuracy"] == 1.0
    assert {o.crops for o in report.outcomes} <= {(), ("all",)}
    assert {o.visual_tokens for o in report.outcomes} <= {16, 80}


def test_random_crop_shows_one_quarter_by_chance_and_the_same_one_again() -> None:
    runs = []
    for _ in range(2):
        with scripted(_shown_other_crops(LIMIT), protocol="nano") as model:
            runs.append(evaluate(model, "random-crop", limit=LIMIT))
    crops = [o.crops for o in runs[0].outcomes]
    assert crops == [o.crops for o in runs[1].outcomes]
    shown = [c for c in crops if c]
    assert [bool(c) for c in crops] == [bool(crops) for _, crops in _asked()]
    assert {len(c) for c in shown} == {1}
    assert {c for (c,) in shown} <= set(QUARTERS)
    assert len(set(shown)) > 1
    result = runs[0].to_dict()
    assert result["accuracy"] == result["call_recall"] == result["call_precision"] == 1.0
    assert result["right_crop"] < 0.5


@pytest.mark.parametrize("mode", ["always-full", "random-crop"])
def test_time_and_status_are_of_the_models_own_call(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Picture.ask

    def timed(picture: Picture, question: str, options: AskOptions) -> Answer:
        """Deciding takes 30 ms of 100; with crops given, its turn 4 ms of 50."""
        answer = ask(picture, question, options)
        first, total = (4.0, 50.0) if options.crops else (30.0, 100.0)
        turns = (TurnTrace(ms={"prefill": first / 4, "decode": first * 3 / 4}), *answer.turns[1:])
        return replace(answer, turns=turns, total_ms=total)

    monkeypatch.setattr(Picture, "ask", timed)
    # Cut off by the token limit: understood, but no call in a published form.
    replies = _shown_other_crops(6, call="GET_CROPS: ['0', '1', '2', '3']")
    with scripted(replies, protocol="nano") as model:
        report = evaluate(model, mode, limit=6)
    assert {bool(o.crops): o.total_ms for o in report.outcomes} == {False: 100.0, True: 76.0}
    assert {bool(o.crops): o.call_status for o in report.outcomes} == {
        False: "none",
        True: "repaired",
    }
    assert report.to_dict()["valid_calls"] == 0.0


def test_an_invalid_call_is_a_call_that_shows_nothing() -> None:
    # Pieces of a call: no marker, so the grammar does not hold them.
    replies = [["GET2']", "nothing"] for _ in range(6)]
    for mode in ("awares", "always-full"):
        with scripted(replies, protocol="nano") as model:
            report = evaluate(model, mode, limit=6)
        assert {(o.call_status, o.crops, o.answer) for o in report.outcomes} == {
            ("invalid", (), "nothing")
        }
        result = report.to_dict()
        assert result["valid_calls"] == result["right_crop"] == 0.0
        assert result["call_recall"] == result["direct_share"] == 1.0
        assert result["call_precision"] == result["needs_zoom_share"]


@pytest.mark.parametrize("control", ["right", "blank", "other"])
def test_controls_show_another_picture(
    control: PictureControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [picture for _, picture, _ in questions("test", 0, LIMIT)]
    blank = Image.new("RGB", (SIDE, SIDE), (238, 238, 238))
    expected = {"right": drawn, "blank": [blank] * 3, "other": [blank, *drawn[:-1]]}[control]
    shown: list[Image.Image] = []
    with scripted(["nothing"] * LIMIT, protocol="nano") as model:
        opened = model.open
        monkeypatch.setattr(model, "open", lambda image: shown.append(image) or opened(image))
        report = evaluate(model, "low", limit=LIMIT, control=control)
    assert len(drawn) == 3
    assert [image.tobytes() for image in shown] == [image.tobytes() for image in expected]
    # Asked and scored are the questions of the picture that should have been there.
    assert [o.expected for o in report.outcomes] == [answer for answer, _ in _asked()]


def test_balanced_takes_both_kinds() -> None:
    sample = generate("train", 0, 3)
    rng = np.random.default_rng(0)
    chosen = balanced(rng, sample.questions, 5)
    assert len(chosen) == 5
    assert len({id(q) for q in chosen}) == 5


def test_unknown_mode() -> None:
    with scripted([], protocol="nano") as model, pytest.raises(InputError):
        evaluate(model, "sideways", limit=1)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 6])  # poor in small text
def test_35_percent_of_any_2000_questions_need_a_closer_look(seed: int) -> None:
    asked = [q for *_, group in questions("test", seed, 2000) for q in group]
    assert len(asked) == 2000
    assert sum(q.size == "small" for q in asked) >= 700


def test_the_documents_name_the_questions_whose_wording_tells_the_size() -> None:
    page = (Path(__file__).parents[2] / "docs" / "synth.md").read_text(encoding="utf-8")
    drawn = Counter((q.kind, q.size) for i in range(750) for q in generate("test", 0, i).questions)
    telling = {k: n for (k, size), n in drawn.items() if size == "small" and not drawn[k, "large"]}
    two, values = telling.pop("two labels"), telling.pop("all values")
    assert not telling
    assert all((kind, "small") in drawn for kind, size in drawn if size == "large")
    asked = Counter((q.kind, q.size) for *_, chosen in questions("test", 0, 2000) for q in chosen)
    told = asked["two labels", "small"] + asked["all values", "small"]
    small = sum(n for (_, size), n in asked.items() if size == "small")
    text = " ".join(page.split())
    assert f"small text: {two} and {values} questions, none of large text, in the first 750" in text
    assert f"{told} of the {small} small-text questions" in text


@pytest.mark.parametrize(("missing", "right"), [(0, 1.0), (2, 0.0)])
def test_a_box_is_right_if_it_holds_all_evidence(
    missing: int, right: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes have no ids: what counts is where they were cut."""
    # The scripted model's tokens are characters.
    monkeypatch.setattr(synthetic, "MAX_NEW_TOKENS", 32)
    replies = []
    for _, _, chosen in questions("test", 0, LIMIT):
        for q in chosen:
            if q.size == "small":
                sides = list(zip(*q.evidence, strict=True))
                x1, y1 = (min(s) // 2 for s in sides[:2])
                x2, y2 = (-(-max(s) // 2) - missing for s in sides[2:])
                replies.append(f"GET_CROPS:[{x1},{y1},{x2},{y2}];")
            replies.append(q.answer)
    with scripted(replies, protocol=str(BOX_PROFILE)) as model:
        result = evaluate(model, "awares", limit=LIMIT).to_dict()
    assert (result["call_recall"], result["valid_calls"]) == (1.0, 1.0)
    assert result["right_crop"] == right
