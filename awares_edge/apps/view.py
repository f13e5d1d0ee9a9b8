"""Pictures of answers for people: the crops drawn on the picture, beside what the model saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

from awares_edge.apps.console import describe_path, describe_tokens
from awares_edge.controller.picture import Picture
from awares_edge.controller.trace import Answer
from awares_edge.files import whole_file

_SIDE = 336
_GAP = 12
_CAPTION = 78
_INK, _FAINT, _PAPER = (28, 30, 34), (110, 114, 120), (250, 250, 248)
_ZOOM, _DIRECT = (220, 50, 47), (38, 139, 80)


def answer_panel(picture: Picture, question: str, answer: Answer) -> Image.Image:
    """One RGB panel: the picture with its crops, the first view, the crops, and a caption."""
    views = [("seen first", picture.first_view(answer))]
    views += [(crop.name, picture.image.crop(crop.box)) for crop in answer.crops[:2]]
    width = _GAP + (_SIDE + _GAP) * 3
    panel = Image.new("RGB", (width, _SIDE + _CAPTION + 3 * _GAP + 20), _PAPER)
    draw = ImageDraw.Draw(panel)

    marked = _fit(picture.image)
    _draw_crops(marked, picture.image.size, answer)
    for column, (title, image) in enumerate([("picture", marked), *views][:3]):
        left = _GAP + column * (_SIDE + _GAP)
        shown = image if column == 0 else _fit(image)
        draw.text((left, _GAP - 4), title, fill=_FAINT, font=_font(15))
        panel.paste(shown, (left + (_SIDE - shown.width) // 2, _GAP + 20))

    top = _GAP + 20 + _SIDE + _GAP
    lines = wrap(question, 90)[:1]
    draw.text((_GAP, top), f"Q  {lines[0] if lines else ''}", fill=_INK, font=_font(20))
    text = answer.text if len(answer.text) <= 80 else answer.text[:79] + "…"
    draw.text((_GAP, top + 27), f"A  {text}", fill=_INK, font=_font(20))
    colour = _ZOOM if answer.crops else _DIRECT
    summary = f"{describe_path(answer)}   {describe_tokens(answer)}"
    draw.text((_GAP, top + 54), summary, fill=colour, font=_font(16))
    return panel


def sheet(panels: Sequence[Image.Image], columns: int = 2) -> Image.Image:
    """Panels of one size on one RGB page."""
    width, height = panels[0].size
    rows = -(-len(panels) // columns)
    page = Image.new("RGB", (columns * width, rows * height), _PAPER)
    for i, panel in enumerate(panels):
        page.paste(panel, (i % columns * width, i // columns * height))
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
