"""Pages to print: deterministic, readable by others, and by ourselves."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from awares_edge.camera.sheet import markers, pages
from awares_edge.camera.sheet.pages import DOTS_PER_MM, PAPERS_MM, Paper, draw_pages, layout, pdf
from awares_edge.errors import InputError
from awares_edge.synth import SIDE


def test_pages_are_a_function_of_their_seed() -> None:
    one, two, other = draw_pages(4, seed=5), draw_pages(4, seed=5), draw_pages(4, seed=6)
    for a, b, c in zip(one, two, other, strict=True):
        assert a.questions == b.questions
        assert a.picture.tobytes() == b.picture.tobytes()
        assert a.picture.tobytes() != c.picture.tobytes()
    assert [page.number for page in one] == [1, 2, 3, 4]
    assert [page.family for page in one] == ["scene", "chart", "document", "scene"]


def test_more_pages_begin_with_the_same_ones() -> None:
    few, more = draw_pages(2), draw_pages(3)
    assert [p.questions for p in few] == [p.questions for p in more[:2]]


@pytest.mark.parametrize("count", [0, -1, pages.MOST_PAGES + 1])
def test_the_number_of_pages_is_bounded(count: int) -> None:
    with pytest.raises(InputError, match=f"between 1 and {pages.MOST_PAGES}, not {count}"):
        draw_pages(count)


@pytest.mark.parametrize("paper", PAPERS_MM)
def test_a_layout_keeps_every_pixel_and_puts_markers_where_the_geometry_says(paper: Paper) -> None:
    picture = draw_pages(1)[0].picture
    sheet, (left, top) = layout(picture, paper)
    dots = np.asarray(sheet)
    assert sheet.size == tuple(round(mm * DOTS_PER_MM) for mm in PAPERS_MM[paper])

    def cut(x: float, y: float, side: float) -> np.ndarray:
        x0, y0 = round((left + x) * DOTS_PER_MM), round((top + y) * DOTS_PER_MM)
        size = round(side * DOTS_PER_MM)
        return dots[y0 : y0 + size, x0 : x0 + size]

    pixel = DOTS_PER_MM * 168 // SIDE
    drawn = cut(0, 0, markers.PICTURE_MM)
    assert np.array_equal(drawn[::pixel, ::pixel], np.asarray(picture))
    assert np.array_equal(drawn[pixel - 1 :: pixel, pixel - 1 :: pixel], np.asarray(picture))
    cell = round(markers.CELL_MM * DOTS_PER_MM)
    for marker, (x, y) in enumerate(markers.ORIGINS_MM):
        seen = cut(x, y, markers.MARKER_MM)[cell // 2 :: cell, cell // 2 :: cell, 0]
        assert np.array_equal(seen, markers.cells(marker))
        around = cut(x - 4.5, y - 4.5, markers.MARKER_MM + 9)
        assert (around[[0, -1]] == 255).all()
        assert (around[:, [0, -1]] == 255).all()


def test_a_document_is_a_function_of_its_pages_and_seed() -> None:
    assert pdf(draw_pages(1, seed=2), 2) == pdf(draw_pages(1, seed=2), 2)


@pytest.mark.parametrize("paper", PAPERS_MM)
def test_the_documents_pages_have_the_papers_size_and_end_with_the_key(paper: Paper) -> None:
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(pdf(draw_pages(7, seed=2), 2, paper))
    assert len(document) == 7 + 2  # a page of the key holds the answers of six
    for page in document:
        points = [mm / 25.4 * 72 for mm in PAPERS_MM[paper]]
        assert page.get_size() == pytest.approx(points, abs=0.5)


def test_a_printed_page_is_read_back() -> None:
    pdfium = pytest.importorskip("pypdfium2")
    pytest.importorskip("cv2")
    from awares_edge.camera.sheet import Page, page_in

    drawn = draw_pages(3, seed=1)
    document = pdfium.PdfDocument(pdf(drawn, 1))
    for index, page in enumerate(drawn):
        frame = np.asarray(document[index].render(scale=1.5).to_pil().convert("RGB"))
        seen = page_in(frame)
        assert isinstance(seen, Page)
        difference = np.abs(seen.picture.astype(float) - np.asarray(page.picture))
        assert difference.mean() < 6
    key = np.asarray(document[3].render(scale=1.5).to_pil().convert("RGB"))
    assert not isinstance(page_in(key), Page)


def test_the_key_holds_every_question_without_cutting_any(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageDraw

    written: list[tuple[float, float, float, str]] = []

    class Draw:
        def __init__(self, image: Image.Image) -> None:
            self.image = image

        def text(self, at, text, fill, font) -> None:  # type: ignore[no-untyped-def]
            x, y = at
            x1, y1 = x + font.getlength(text), y + font.size
            assert x1 <= self.image.width - 5 * DOTS_PER_MM, text
            assert y1 <= self.image.height - 5 * DOTS_PER_MM, text
            written.append((x, y, x1, text))

    drawn = draw_pages(pages.MOST_PAGES, seed=4)
    monkeypatch.setattr(ImageDraw, "Draw", Draw)
    for start in range(0, len(drawn), 6):
        written.clear()
        pages._key(drawn[start : start + 6], 4, "letter")
        texts = [text for *_, text in written]
        for page in drawn[start : start + 6]:
            assert f"Page {page.number}" in texts
            for question in page.questions:
                assert f"{question.text}  {question.answer}" in texts
        places = [(x, y) for x, y, *_ in written]
        assert len(set(places)) == len(places)
        for x, y, x1, _ in written[1:]:
            for other, below, *_ in written[1:]:
                if other > x:
                    assert x1 < other
                if other == x and below > y:
                    assert below - y >= 26
