"""The sheet is found, straightened to a known accuracy, and refused when it cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

pytest.importorskip("cv2")

from awares_edge.camera.sheet import CapturedSheets, NoPage, Page, markers, page_in
from awares_edge.camera.sheet.pages import draw_pages, layout
from awares_edge.camera.sheet.rectify import LEAST_SIDE, project
from awares_edge.errors import InputError
from awares_edge.synth import SIDE
from awares_edge.synth.capture import LEVELS, Level

DOTS = 4


def photograph(
    sheet: Image.Image,
    place: tuple[float, float],
    *,
    tilt: float = 0.0,
    size: float = 330.0,
    turn: float = 0.0,
    frame: tuple[int, int] = (800, 600),
) -> tuple[np.ndarray, np.ndarray]:
    """A frame of the sheet before grey, and the homography from picture pixels to the frame.

    Args:
        tilt: how much narrower the right edge of the picture is, as a share.
        size: of the picture in the frame, in pixels.
        turn: degrees, clockwise.
    """
    angle = np.radians(turn)
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    square[1:3, 1] *= 1 - tilt
    seen = square @ rotate.T * size + np.array(frame) / 2
    flat = np.array([(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)], float)
    rows = []
    for (x, y), (u, v) in zip(flat, seen, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    true = np.append(np.linalg.solve(np.array(rows), seen.ravel()), 1).reshape(3, 3)
    pixel = markers.PICTURE_MM / SIDE * DOTS
    to_sheet = np.array([[pixel, 0, place[0] * DOTS], [0, pixel, place[1] * DOTS], [0, 0, 1]])
    back = to_sheet @ np.linalg.inv(np.diag([2, 2, 1]) @ true)  # drawn twice as large
    drawn = sheet.transform(
        (frame[0] * 2, frame[1] * 2),
        Image.Transform.PERSPECTIVE,
        tuple((back / back[2, 2]).ravel()[:8]),
        Image.Resampling.BICUBIC,
        fillcolor=(120, 120, 120),
    )
    return np.asarray(drawn.reduce(2)), true


@pytest.fixture(scope="module")
def sheet() -> tuple[Image.Image, tuple[float, float]]:
    return layout(draw_pages(1, seed=8)[0].picture, dots_per_mm=DOTS)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.asarray(draw_pages(1, seed=8)[0].picture)


def far(page: Page, true: np.ndarray) -> float:
    """Largest distance of a corner from its true place, in pixels of the frame."""
    corners = project(true, np.array([(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)], float))
    return float(np.linalg.norm(page.corners - corners, axis=1).max())


@pytest.mark.parametrize("tilt", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("turn", [0, 12, 90, 180])
@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_the_picture_comes_back_upright_from_tilt_turn_and_blur(
    sheet: tuple[Image.Image, tuple[float, float]],
    picture: np.ndarray,
    tilt: float,
    turn: float,
    blur: float,
) -> None:
    frame, true = photograph(*sheet, tilt=tilt, turn=turn)
    soft = np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(blur)))
    page = page_in(soft)
    assert isinstance(page, Page)
    assert page.picture.shape == (SIDE, SIDE, 3)
    assert page.picture.dtype == np.uint8
    assert far(page, true) < 0.75
    assert np.abs(page.picture.astype(float) - picture).mean() < 8


@pytest.mark.parametrize("level", LEVELS)
def test_a_simulated_camera_moves_the_corners_by_a_pixel_or_two(level: Level) -> None:
    view = CapturedSheets(level, seed=3)
    pages = []
    for index, drawn in enumerate(draw_pages(3, seed=3)):
        taken = view.taken(index, drawn.picture)
        pages.append(page_in(taken.frame))
        if isinstance(pages[-1], Page):
            assert far(pages[-1], taken.matrix) < {"mild": 0.5, "medium": 0.8, "strong": 2.5}[level]
    read = sum(isinstance(page, Page) for page in pages)
    assert read == 3 if level != "strong" else read


def test_exposure_cast_and_uneven_light_are_undone(
    sheet: tuple[Image.Image, tuple[float, float]], picture: np.ndarray
) -> None:
    frame, _ = photograph(*sheet)
    fall = np.linspace(1.0, 0.6, frame.shape[1])[None, :, None]
    dim = (frame * fall * np.array([0.6, 0.5, 0.4]) + 12).astype(np.uint8)
    page, plain = page_in(dim), page_in(frame)
    assert isinstance(page, Page)
    assert isinstance(plain, Page)
    assert np.abs(page.picture.astype(float) - plain.picture).mean() < 5
    assert np.abs(page.picture.astype(float) - picture).mean() < 10


@pytest.mark.parametrize("sigma", [0.8, 1.4])
def test_blur_is_measured_and_text_is_sharper_than_without_the_filter(
    sheet: tuple[Image.Image, tuple[float, float]], picture: np.ndarray, sigma: float
) -> None:
    frame, _ = photograph(*sheet, size=SIDE * 1.5)
    soft = np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(sigma)))
    page = page_in(soft)
    assert isinstance(page, Page)
    assert page.blur == pytest.approx(sigma / 1.5, rel=0.12)
    shrunk = np.asarray(Image.fromarray(soft).crop((232, 132, 568, 468)).resize((SIDE, SIDE)))
    around = np.asarray(Image.fromarray(picture).filter(ImageFilter.BoxBlur(1)))
    detail = np.abs(picture.astype(float) - around) > 25
    before, after = (
        np.abs(seen.astype(float) - picture)[detail].mean() for seen in (shrunk, page.picture)
    )
    assert after < 0.6 * before


def test_a_covered_marker_is_done_without(
    sheet: tuple[Image.Image, tuple[float, float]],
) -> None:
    paper, (left, top) = sheet
    for marker in range(markers.MARKERS):
        covered = paper.copy()
        x, y = markers.ORIGINS_MM[marker]
        thumb = (int((left + x) * DOTS), int((top + y + 5) * DOTS))
        covered.paste((205, 160, 140), (*thumb, thumb[0] + 60, thumb[1] + 60))
        frame, true = photograph(covered, (left, top), tilt=0.1)
        page = page_in(frame)
        assert isinstance(page, Page)
        assert far(page, true) < 1.0
        whole = page_in(photograph(paper, (left, top), tilt=0.1)[0])
        assert isinstance(whole, Page)
        assert np.abs(page.picture.astype(float) - whole.picture).mean() < 4


def test_two_covered_markers_are_too_many(
    sheet: tuple[Image.Image, tuple[float, float]],
) -> None:
    paper, place = sheet
    covered = paper.copy()
    covered.paste("white", (0, 0, round(place[0] * DOTS), paper.height))
    assert page_in(photograph(covered, place)[0]) == NoPage("2 of 4 markers found", 2)


def test_frames_without_a_sheet_are_refused(picture: np.ndarray) -> None:
    none = NoPage("0 of 4 markers found", 0)
    assert page_in(picture) == none
    assert page_in(np.zeros((480, 640, 3), np.uint8)) == none
    assert page_in(np.zeros((1, 1, 3), np.uint8)) == none
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    assert page_in(noise) == none


def test_a_mirrored_sheet_is_refused(sheet: tuple[Image.Image, tuple[float, float]]) -> None:
    frame, _ = photograph(*sheet)
    assert page_in(np.ascontiguousarray(frame[:, ::-1])) == NoPage("0 of 4 markers found", 0)


def test_a_sheet_that_is_too_far_away_is_refused(
    sheet: tuple[Image.Image, tuple[float, float]],
) -> None:
    page = page_in(photograph(*sheet, size=150)[0])
    assert isinstance(page, NoPage)
    assert page.reason == (
        f"the picture is only 150 pixels wide, and must have {LEAST_SIDE}: hold the page nearer"
    )


def test_a_sheet_out_of_focus_is_refused(sheet: tuple[Image.Image, tuple[float, float]]) -> None:
    frame, _ = photograph(*sheet, size=380, frame=(960, 600))
    soft = np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(3.2)))
    page = page_in(soft)
    assert isinstance(page, NoPage)
    assert page.reason == "the page is blurred: hold it still and in focus"


def test_a_sheet_in_the_dark_is_refused(sheet: tuple[Image.Image, tuple[float, float]]) -> None:
    page = page_in((photograph(*sheet)[0] * 0.12).astype(np.uint8))
    assert isinstance(page, NoPage)
    assert page.reason == "too little contrast: put more light on the page"


def test_a_picture_that_is_cut_off_by_the_frame_is_refused(
    sheet: tuple[Image.Image, tuple[float, float]],
) -> None:
    frame, _ = photograph(*sheet, turn=40, size=420, frame=(1000, 800))
    cut = np.ascontiguousarray(frame[: 400 + 280])  # the lowest corner of the picture is 295 down
    page = page_in(cut)
    assert isinstance(page, NoPage)
    assert page.reason == "3 of 4 markers found, and a part of the picture is outside"


def test_a_bent_sheet_is_refused(sheet: tuple[Image.Image, tuple[float, float]]) -> None:
    paper, place = sheet
    dots = np.asarray(paper)
    x = np.arange(dots.shape[1])
    bend = (40 * np.sin(np.pi * x / dots.shape[1])).astype(int)
    rows = (np.arange(dots.shape[0])[:, None] + bend[None, :]).clip(0, dots.shape[0] - 1)
    bend_x = (x + 120 * np.sin(2 * np.pi * x / dots.shape[1])).astype(int)
    bent = Image.fromarray(dots[rows, bend_x.clip(0, dots.shape[1] - 1)[None, :]])
    page = page_in(photograph(bent, place)[0])
    assert isinstance(page, NoPage)
    assert page.reason == "the markers do not fit a flat sheet: hold the page flat"


def test_two_sheets_are_refused(sheet: tuple[Image.Image, tuple[float, float]]) -> None:
    frame, _ = photograph(*sheet, size=240, frame=(480, 400))
    page = page_in(np.concatenate([frame, frame], axis=1))
    assert isinstance(page, NoPage)
    assert page.reason == "more than one sheet is in view: show one"


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_not_a_frame_is_an_input_error(frame: np.ndarray) -> None:
    with pytest.raises(InputError, match="a frame must be uint8"):
        page_in(frame)


def test_a_frame_is_not_changed_and_gives_the_same_page_again(
    sheet: tuple[Image.Image, tuple[float, float]],
) -> None:
    frame = photograph(*sheet, tilt=0.1)[0].copy()
    before = frame.copy()
    frame.flags.writeable = False
    one, two = page_in(frame), page_in(frame)
    assert isinstance(one, Page)
    assert isinstance(two, Page)
    assert np.array_equal(frame, before)
    assert np.array_equal(one.picture, two.picture)
