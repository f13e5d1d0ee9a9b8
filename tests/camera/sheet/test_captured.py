"""The synthetic suite through the simulated camera: what is asked, refused and counted."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import awares_edge
from awares_edge import scripted
from awares_edge.camera.sheet import CapturedSheets
from awares_edge.errors import RuntimeUnavailable
from awares_edge.evaluation.question import BadQuestion
from awares_edge.evaluation.suites import Selection, SynthSuite
from awares_edge.evaluation.synthetic import evaluate, questions
from awares_edge.evaluation.views import Refused
from awares_edge.synth import SIDE

LIMIT = 12


def drawn() -> list[tuple[str, Image.Image, list]]:  # type: ignore[type-arg]
    return list(questions("test", 0, LIMIT))


def test_a_read_sheet_is_the_picture_again_with_the_same_questions() -> None:
    pytest.importorskip("cv2")
    _, picture, chosen = drawn()[0]
    seen = CapturedSheets("mild").show(0, picture, chosen)
    assert not isinstance(seen, Refused)
    shown, asked = seen
    assert asked == chosen
    assert shown.size == (SIDE, SIDE)
    assert np.abs(np.asarray(shown).astype(float) - np.asarray(picture)).mean() < 12


def test_what_is_shown_depends_on_level_seed_index_and_picture_only() -> None:
    _, picture, chosen = drawn()[0]

    def shown(level: str, seed: int, index: int) -> bytes:
        view = CapturedSheets(level, seed, rectify=False)  # type: ignore[arg-type]
        seen = view.show(index, picture, chosen)
        assert not isinstance(seen, Refused)
        return seen[0].tobytes()

    first = shown("mild", 0, 0)
    assert first == shown("mild", 0, 0)
    others = [shown("medium", 0, 0), shown("mild", 1, 0), shown("mild", 0, 1)]
    assert len({first, *others}) == 4


def test_without_rectification_the_evidence_is_where_the_camera_saw_it() -> None:
    view = CapturedSheets("mild", rectify=False)
    for index, (_, picture, chosen) in enumerate(drawn()):
        seen = view.show(index, picture, chosen)
        assert not isinstance(seen, Refused)
        square, asked = seen
        assert square.size == (SIDE, SIDE)
        assert [q.text for q in asked] == [q.text for q in chosen]
        for before, after in zip(chosen, asked, strict=True):
            for box, moved in zip(before.evidence, after.evidence, strict=True):
                original = np.asarray(picture.crop(box).resize((24, 24))).astype(float)
                found = np.asarray(square.crop(moved).resize((24, 24))).astype(float)
                # The same things at the same places: alike but for light and blur.
                agreement = np.corrcoef(original.ravel(), found.ravel())[0, 1]
                assert agreement > 0.6, before.text


def test_questions_about_refused_sheets_are_counted_and_not_asked() -> None:
    class Every(CapturedSheets):
        def show(self, index, picture, questions):  # type: ignore[no-untyped-def]
            return Refused("2 of 4 markers found") if index == 0 else (picture, questions)

    first, second = (chosen for _, _, chosen in drawn())
    counted: list[tuple[int, int]] = []
    with scripted([q.answer for q in second], protocol="nano") as model:
        report = evaluate(
            model,
            "low",
            limit=LIMIT,
            view=Every("mild", rectify=False),
            progress=lambda done, total: counted.append((done, total)),
        )
    result = report.to_dict()
    assert result["questions"] == len(second)
    assert result["accuracy"] == 1.0
    assert result["refused"] == len(first)
    assert result["refusals"] == {"2 of 4 markers found": len(first)}
    assert result["accuracy_of_all"] == pytest.approx(len(second) / LIMIT, abs=1e-4)
    low, high = result["accuracy_of_all_ci"]
    assert low < result["accuracy_of_all"] < high
    assert counted[-1] == (LIMIT, LIMIT)


def test_results_without_a_camera_say_nothing_of_refusals() -> None:
    with scripted(["?"] * 2, protocol="nano") as model:
        assert "refused" not in evaluate(model, "low", limit=2).to_dict()


def test_in_a_suite_refused_sheets_are_bad_rows_and_the_camera_is_pinned() -> None:
    class First(CapturedSheets):
        def show(self, index, picture, questions):  # type: ignore[no-untyped-def]
            return Refused("3 of 4 markers found") if index == 0 else (picture, questions)

    first, second = (chosen for _, _, chosen in drawn())
    view = First("strong", 7, rectify=False)
    suite = SynthSuite(limit=LIMIT, view=view)
    rows = [row for _, row in suite.read(Selection())]
    assert rows[: len(first)] == [BadQuestion("3 of 4 markers found")] * len(first)
    assert [row.prompt for row in rows[len(first) :]] == [q.text for q in second]  # type: ignore[union-attr]
    pins = suite.pins()
    assert (pins["capture"], pins["camera_seed"], pins["rectify"]) == ("strong", 7, False)
    assert "capture" not in SynthSuite(limit=LIMIT).pins()


def test_reading_needs_opencv_and_looking_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awares_edge.extras.find_spec", lambda _: None)
    CapturedSheets("mild", rectify=False)
    with pytest.raises(RuntimeUnavailable, match=r"cv2: pip install 'awares-edge\[camera\]'"):
        CapturedSheets("mild")


@pytest.mark.slow
@pytest.mark.parametrize(("level", "least"), [("mild", 0.93), ("medium", 0.85), ("strong", 0.55)])
def test_the_embedded_model_reads_captured_sheets(level: str, least: float) -> None:
    """Refused sheets count as wrong; without rectification it reads next to nothing."""
    pytest.importorskip("cv2")
    with awares_edge.load() as model:
        read = evaluate(model, "awares", limit=400, view=CapturedSheets(level))  # type: ignore[arg-type]
        bare = evaluate(
            model,
            "awares",
            limit=60,
            view=CapturedSheets(level, rectify=False),  # type: ignore[arg-type]
        )
    result = read.to_dict()
    assert result.get("accuracy_of_all", result["accuracy"]) >= least
    assert (bare.to_dict()["accuracy"] or 0) < least - 0.2
