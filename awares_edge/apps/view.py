"""Pictures of answers for people: the crops drawn on the picture, beside what the model saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

from awares_edge.apps.console import describe_path, describe_tokens
from awares_edge.controller.askable import OpenPicture
from awares_edge.controller.trace import Answer
from awares_edge.files import whole_file

_SIDE = 336
_GAP = 12
_ROW = _SIDE + 20 + _GAP
_COLUMNS = 3
_CAPTION = 78
_INK, _FAINT, _PAPER = (28, 30, 34), (110, 114, 120), (250, 250, 248)
_ZOOM, _DIRECT = (220, 50, 47), (38, 139, 80)


def answer_panel(picture: OpenPicture, question: str, answer: Answer) -> Image.Image:
    """One RGB panel: the picture with its crops, the first view, every crop, and a caption."""
    marked = _fit(picture.image)
    _draw_crops(marked, picture.image.size, answer)
    views = [("picture", marked), ("seen first", _fit(picture.first_view(answer)))]
    views += [(crop.name, _fit(picture.image.crop(crop.box))) for crop in answer.crops]
    rows = -(-len(views) // _COLUMNS)
    width = _GAP + (_SIDE + _GAP) * _COLUMNS
    panel = Image.new("RGB", (width, rows * _ROW + _CAPTION + 2 * _GAP), _PAPER)
    draw = ImageDraw.Draw(panel)
    for at, (title, image) in enumerate(views):
        row, column = divmod(at, _COLUMNS)
        left, top = _GAP + column * (_SIDE + _GAP), _GAP + row * _ROW
        draw.text((left, top - 4), title, fill=_FAINT, font=_font(15))
        panel.paste(image, (left + (_SIDE - image.width) // 2, top + 20))
    _draw_caption(draw, _GAP + rows * _ROW, question, answer)
    return panel


def _draw_caption(draw: ImageDraw.ImageDraw, top: int, question: str, answer: Answer) -> None:
    lines = wrap(question, 90)[:1]
    draw.text((_GAP, top), f"Q  {lines[0] if lines else ''}", fill=_INK, font=_font(20))
    text = answer.text if len(answer.text) <= 80 else answer.text[:79] + "…"
    draw.text((_GAP, top + 27), f"A  {text}", fill=_INK, font=_font(20))
    colour = _ZOOM if answer.crops else _DIRECT
    summary = f"{describe_path(answer)}   {describe_tokens(answer)}"
    draw.text((_GAP, top + 54), summary, fill=colour, font=_font(16))


def sheet(panels: Sequence[Image.Image], columns: int = 2) -> Image.Image:
    """Panels on one RGB page, row by row; at least one."""
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    width = max(panel.width for panel in panels)
    page = Image.new("RGB", (columns * width, sum(heights)), _PAPER)
    for i, row in enumerate(rows):
        for column, panel in enumerate(row):
            page.paste(panel, (column * width, sum(heights[:i])))
    return page


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG whole or not at all.

    Raises:
        OSError: it cannot be written there.
    """
    with whole_file(path) as file:
        image.save(file, "PNG")


def _fit(image: Image.Image) -> Image.Image:
    """Scaled to the panel; small views keep their visible pixels."""
    scale = _SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    enlarge = Image.Resampling.NEAREST if scale > 1.6 else Image.Resampling.LANCZOS
    return image.resize(size, enlarge)


def _draw_crops(shown: Image.Image, size: tuple[int, int], answer: Answer) -> None:
    draw = ImageDraw.Draw(shown)
    scale_x, scale_y = shown.width / size[0], shown.height / size[1]
    for crop in answer.crops:
        left, top, right, bottom = crop.box
        box = (left * scale_x, top * scale_y, right * scale_x - 1, bottom * scale_y - 1)
        draw.rectangle(box, outline=_ZOOM, width=4)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
