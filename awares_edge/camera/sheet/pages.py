"""Pages to print: a synthetic picture with its four markers and a line of text; the answer key."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from awares_edge.camera.sheet import markers
from awares_edge.errors import InputError
from awares_edge.synth.generate import generate
from awares_edge.synth.sample import Question
from awares_edge.synth.text import font_file

Paper = Literal["a4", "letter"]
PAPERS_MM: dict[Paper, tuple[float, float]] = {"a4": (297.0, 210.0), "letter": (279.4, 215.9)}
"""Width and height of the papers, which are laid sideways."""

MOST_PAGES = 24
"""Most pages of a document: all are in memory (12 MB each) while it is written."""

DOTS_PER_MM = 8
"""Print resolution (203.2 dpi): 6 x 6 dots for each pixel of a picture."""

_INK, _FAINT = (20, 20, 20), (110, 110, 110)
_MARGIN_MM = 12
_KEY_COLUMNS, _KEY_ROWS = 2, 3


@dataclass(frozen=True)
class SheetPage:
    """One page to print.

    Attributes:
        number: from 1.
        family: of the picture, as in `awares_edge.synth`.
        picture: RGB, 224 x 224.
        questions: what can be asked about it, with the answers.
    """

    number: int
    family: str
    picture: Image.Image
    questions: tuple[Question, ...]


def draw_pages(count: int, seed: int = 0) -> list[SheetPage]:
    """Pages of the test split: scenes, charts and documents in turn.

    Raises:
        InputError: fewer than one page, or more than `MOST_PAGES`.
    """
    if not 1 <= count <= MOST_PAGES:
        raise InputError(f"the number of pages must be between 1 and {MOST_PAGES}, not {count}")
    samples = [generate("test", seed, index) for index in range(count)]
    return [
        SheetPage(i, s.family, Image.fromarray(s.picture), tuple(s.questions))
        for i, s in enumerate(samples, start=1)
    ]


def layout(
    picture: Image.Image, paper: Paper = "a4", dots_per_mm: int = DOTS_PER_MM
) -> tuple[Image.Image, tuple[float, float]]:
    """A sheet of white paper with the picture and its markers.

    Args:
        picture: square RGB; enlarged without smoothing.
        dots_per_mm: a multiple of 4, so that the pixels of a synthetic picture are whole dots.

    Returns:
        (RGB image of the paper, (x, y) in millimetres of the picture's top left corner on it).
    """
    width, height = PAPERS_MM[paper]
    hull_width, hull_height = markers.HULL_MM[2] - markers.HULL_MM[0], markers.PICTURE_MM
    # Whole millimetres are whole dots: the corners are exactly where the geometry puts them.
    left = round((width - hull_width) / 2 - markers.HULL_MM[0])
    top = round((height - hull_height) / 2 - 3)
    sheet = Image.new("RGB", (round(width * dots_per_mm), round(height * dots_per_mm)), "white")
    side = round(markers.PICTURE_MM * dots_per_mm)
    enlarged = picture.resize((side, side), Image.Resampling.NEAREST)
    sheet.paste(enlarged, (left * dots_per_mm, top * dots_per_mm))
    side = round(markers.MARKER_MM * dots_per_mm)
    for marker, (x, y) in enumerate(markers.ORIGINS_MM):
        cells = Image.fromarray(markers.cells(marker))
        drawn = cells.resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(drawn, (round((left + x) * dots_per_mm), round((top + y) * dots_per_mm)))
    return sheet, (float(left), float(top))


def pdf(pages: Sequence[SheetPage], seed: int, paper: Paper = "a4") -> bytes:
    """A PDF document of these pages, the answer key last; the same arguments give the same bytes.

    Args:
        seed: of the pages; printed on them.
    """
    images = [_printed(page, len(pages), seed, paper) for page in pages]
    step = _KEY_COLUMNS * _KEY_ROWS
    images += [_key(pages[i : i + step], seed, paper) for i in range(0, len(pages), step)]
    out = io.BytesIO()
    images[0].save(
        out,
        "PDF",
        save_all=True,
        append_images=images[1:],
        resolution=DOTS_PER_MM * 25.4,
        # Pillow embeds RGB pages as JPEG.
        quality=95,
        subsampling=0,
        title=f"awares-edge sheet, seed {seed}",
        creationDate=None,
        modDate=None,
    )
    return out.getvalue()


def _printed(page: SheetPage, count: int, seed: int, paper: Paper) -> Image.Image:
    """The page with two lines below: its title, and questions to ask."""
    sheet, (left, top) = layout(page.picture, paper)
    name = f"awares-edge sheet  page {page.number} of {count}  seed {seed}"
    advice = f"{name}  hold flat and upright, all four markers in view"
    asked = "Ask:  " + "  ".join(q.text for q in page.questions[:3])
    width = round(markers.PICTURE_MM * DOTS_PER_MM)
    for row, text in enumerate((advice, asked)):
        at = (left * DOTS_PER_MM, (top + markers.PICTURE_MM + 6 + 5 * row) * DOTS_PER_MM)
        ImageDraw.Draw(sheet).text(at, text, fill=_FAINT, font=_font(_fitting(text, width)))
    return sheet


def _key(pages: Sequence[SheetPage], seed: int, paper: Paper) -> Image.Image:
    """Questions and answers of a few pages."""
    width, height = (round(mm * DOTS_PER_MM) for mm in PAPERS_MM[paper])
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    margin = _MARGIN_MM * DOTS_PER_MM
    draw.text((margin, margin), f"Answer key, seed {seed}", fill=_INK, font=_font(36))
    column_width = (width - 2 * margin) // _KEY_COLUMNS
    row_height = (height - 2 * margin - 70) // _KEY_ROWS
    for place, page in enumerate(pages):
        row, column = divmod(place, _KEY_COLUMNS)
        x, y = margin + column * column_width, margin + 70 + row * row_height
        draw.text((x, y), f"Page {page.number}", fill=_INK, font=_font(28))
        for line, question in enumerate(page.questions, start=1):
            text = f"{question.text}  {question.answer}"
            font = _font(_fitting(text, column_width))
            draw.text((x, y + 6 + line * 34), text, fill=_INK, font=font)
    return sheet


def _fitting(text: str, width: int, largest: int = 24) -> int:
    """The largest font size at which the text is not wider than a column."""
    length = _font(largest).getlength(text)
    return largest if length < width - 20 else max(1, int(largest * (width - 20) / length))


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file("DejaVuSans-Bold")), size)
