"""What the model is shown of a frame: all of it, or for the embedded model its own sheet."""

from __future__ import annotations

import numpy as np
import pytest

import awares_edge
from awares_edge import CameraError, RuntimeUnavailable
from awares_edge.camera import Station, StationOptions
from awares_edge.camera.prepare import SHEET_ONLY, as_is, own_sheet, preparation_for
from awares_edge.camera.sheet import CapturedSheets
from awares_edge.camera.sheet.pages import draw_pages
from awares_edge.camera.sheet.rectify import project
from awares_edge.evaluation.answers import is_right
from tests.camera.fakes import SteadySource, noise, wait_until


def test_only_the_embedded_models_profile_needs_the_sheet() -> None:
    assert preparation_for("nano") is own_sheet
    assert preparation_for("paper") is preparation_for("readme") is as_is


def test_a_square_frame_is_a_drawing_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awares_edge.extras.find_spec", lambda _: None)  # no OpenCV either
    pixels = noise()
    prepared = own_sheet(pixels)
    assert prepared.pixels is pixels
    assert prepared.to_frame(3, 4) == (3, 4)
    assert prepared.note == ""


def test_a_frame_without_a_sheet_says_what_the_model_reads_and_what_else_to_load() -> None:
    pytest.importorskip("cv2")
    with pytest.raises(CameraError) as refused:
        own_sheet(noise(size=(640, 480)))
    assert str(refused.value) == f"0 of 4 markers found; {SHEET_ONLY}"
    assert "docs/camera.md" in SHEET_ONLY


def test_without_opencv_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awares_edge.extras.find_spec", lambda _: None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'awares-edge\[camera\]'"):
        own_sheet(noise(size=(640, 480)))


def test_regions_of_the_sheet_lie_where_the_page_is_in_the_frame() -> None:
    pytest.importorskip("cv2")
    taken = CapturedSheets("medium", seed=1).taken(0, draw_pages(1)[0].picture)
    prepared = own_sheet(taken.frame)
    assert prepared.pixels.shape == (224, 224, 3)
    assert prepared.note == "the picture of the sheet, straightened and sharpened"
    for x, y in ((0, 0), (112, 0), (224, 224), (50, 180)):
        (true,) = project(taken.matrix, np.array([(x, y)], float))
        assert np.linalg.norm(np.array(prepared.to_frame(x, y)) - true) < 1.0


def test_the_embedded_model_reads_a_sheet_before_a_camera() -> None:
    """The whole way: frames, sheet, model, answer, and the boxes in the frame."""
    pytest.importorskip("cv2")
    (drawn,) = draw_pages(1)
    taken = CapturedSheets("mild").taken(0, drawn.picture)
    question = next(q for q in drawn.questions if q.size == "small")
    source = SteadySource(lambda _: taken.frame.copy())
    with (
        awares_edge.load() as model,
        Station(model, StationOptions(source="sheet"), opener=lambda _: source) as station,
    ):
        station.wait_ready(30)
        station.ask(question.text)
        wait_until(lambda: [e for e in station.history() if e.state == "done"])
        (exchange,) = station.history()
    assert is_right(exchange.answer, question.answer)
    assert exchange.note == "the picture of the sheet, straightened and sharpened"
    (region,) = exchange.regions
    page = project(taken.matrix, np.array([(0, 0), (224, 0), (224, 224), (0, 224)], float))
    low, high = page.min(axis=0) - 2, page.max(axis=0) + 2
    left, top, right, bottom = region.box
    assert low[0] <= left < right <= high[0]
    assert low[1] <= top < bottom <= high[1]


def test_a_camera_without_a_sheet_in_view_is_an_error_people_can_act_on() -> None:
    pytest.importorskip("cv2")
    source = SteadySource(lambda number: noise(number, (320, 240)))
    with (
        awares_edge.scripted(["?"], protocol="nano") as model,
        Station(model, StationOptions(source="room"), opener=lambda _: source) as station,
    ):
        station.wait_ready(30)
        station.ask("What is the title?")
        failed: list[str] = []

        def told() -> bool:
            events = [one.event for one in station.events_after(0)]
            failed[:] = [event.message for event in events if event.kind == "error"]
            return bool(failed)

        wait_until(told)
    assert failed == [f"0 of 4 markers found; {SHEET_ONLY}"]


def test_what_lasts_is_told_once_and_a_question_stands_until_a_sheet_is_shown() -> None:
    pytest.importorskip("cv2")
    (drawn,) = draw_pages(1)
    sheet = CapturedSheets("mild").taken(0, drawn.picture).frame
    shown = [noise(0, (320, 240))]
    source = SteadySource(lambda _: shown[0].copy())
    with (
        awares_edge.scripted(["X50"] * 50, protocol="nano") as model,
        Station(model, StationOptions(source="desk"), opener=lambda _: source) as station,
    ):

        def errors() -> list[str]:
            events = (one.event for one in station.events_after(0))
            return [event.message for event in events if event.kind == "error"]

        station.wait_ready(30)
        station.ask("What is the title?", continuous=True)
        wait_until(errors)
        count = 2 + len(errors())
        # Long enough for the question to be tried again.
        wait_until(lambda: station.last_event >= count + 2)
        assert len(errors()) == 1
        shown[0] = sheet
        wait_until(lambda: [e for e in station.history() if e.state == "done"])
        assert errors() == [f"0 of 4 markers found; {SHEET_ONLY}"]
