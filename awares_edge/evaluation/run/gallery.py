"""A page of hits and misses, with the crops drawn: one HTML file that needs no other."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from awares_edge.evaluation.question import BadQuestion
from awares_edge.evaluation.run.folder import ROWS
from awares_edge.evaluation.run.rows import Row, read_rows
from awares_edge.evaluation.suites.base import Selection, Suite
from awares_edge.files import whole_file

_PICTURE, _CROP = 480, 220
_COLOUR = (220, 50, 47)
_RIGHT = 0.5
_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #1c2733; background: #fafaf8 }
article { border-top: 1px solid #d8dde3; padding: 1rem 0 }
article { display: flex; flex-wrap: wrap; gap: 1rem }
img { border: 1px solid #d8dde3; vertical-align: top } dl { margin: 0; max-width: 32rem }
dt { color: #5b6875; font-size: .85em } dd { margin: 0 0 .5rem; white-space: pre-wrap }
"""


def write_gallery(suite: Suite, folder: Path, path: Path, title: str, each: int = 12) -> None:
    """Write the page of one run.

    Args:
        folder: of the run.
        title: heading of the page.
        each: most hits, and most misses; those with crops come first.

    Raises:
        InputError: rows or data cannot be read.
        OSError: the page cannot be written.
    """
    chosen = _choose(folder, each)
    articles: dict[int, str] = {}
    wanted = Selection(only=frozenset(row.index for row in chosen))
    by_index = {row.index: row for row in chosen}
    for index, question in suite.read(wanted):
        if not isinstance(question, BadQuestion):
            articles[index] = _article(by_index[index], question.prompt, suite.decode(question))
    with whole_file(path) as file:
        for part in _page(title, chosen, articles):
            file.write(part.encode("utf-8", "backslashreplace"))


def _choose(folder: Path, each: int) -> list[Row]:
    """The first hits and the first misses, those with crops before the others."""
    kept: dict[tuple[bool, bool], list[Row]] = {}
    for row in read_rows(folder / ROWS):
        if row.score is not None:
            group = kept.setdefault((row.score >= _RIGHT, bool(row.crops)), [])
            if len(group) < each:
                group.append(row)
    chosen = []
    for hit in (True, False):
        chosen += [*kept.get((hit, True), []), *kept.get((hit, False), [])][:each]
    return chosen


def _page(title: str, rows: Sequence[Row], articles: dict[int, str]) -> Iterable[str]:
    yield "<!doctype html>\n<html lang=en><meta charset=utf-8>\n"
    yield f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n"
    for name, hit in (("Hits", True), ("Misses", False)):
        of_kind = [r for r in rows if ((r.score or 0.0) >= _RIGHT) is hit and r.index in articles]
        yield f"<h2>{name} ({len(of_kind)} shown)</h2>\n"
        for row in of_kind:
            yield articles[row.index]
    yield "</html>\n"


def _article(row: Row, prompt: str, image: Image.Image) -> str:
    pictures = [_img(_marked(image, row), "picture")]
    for name, box in zip(row.crops, row.boxes, strict=False):
        crop = image.crop(box)
        crop.thumbnail((_CROP, _CROP))
        pictures.append(_img(crop, f"crop {name}"))
    crops = ", ".join(row.crops) or "none"
    facts = [
        ("question", prompt),
        ("answer", row.prediction),
        ("references", " | ".join(row.references)),
        ("score, crops, RTR", f"{row.score:g}, {crops}, {row.rtr:.2f}"),
        ("id", row.id),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    return f"<article>{''.join(pictures)}<dl>{items}</dl></article>\n"


def _marked(image: Image.Image, row: Row) -> Image.Image:
    """The picture, scaled down, with the crops drawn."""
    shown = image.copy()
    shown.thumbnail((_PICTURE, _PICTURE))
    draw = ImageDraw.Draw(shown)
    across, down = shown.width / image.width, shown.height / image.height
    for left, top, right, bottom in row.boxes:
        box = (left * across, top * down, right * across - 1, bottom * down - 1)
        if box[0] <= box[2] and box[1] <= box[3]:
            draw.rectangle(box, outline=_COLOUR, width=3)
    return shown


def _img(image: Image.Image, alternative: str) -> str:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=85)
    data = b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(alternative)}" src="data:image/jpeg;base64,{data}">'
