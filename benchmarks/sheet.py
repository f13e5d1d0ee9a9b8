"""How the embedded model reads printed sheets before a simulated camera, rectified and as seen.

    python benchmarks/sheet.py [--questions 400] [--picture docs/images/sheet.jpg]

Prints the table of docs/camera.md, and the CPU time of reading. `--picture` draws a frame of each
level, what was read from it, and an answer.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from time import process_time

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge import Model  # noqa: E402
from awares_edge.camera.sheet import CapturedSheets, Page, page_in  # noqa: E402
from awares_edge.camera.sheet.pages import draw_pages  # noqa: E402
from awares_edge.evaluation.answers import is_right  # noqa: E402
from awares_edge.evaluation.intervals import wilson  # noqa: E402
from awares_edge.evaluation.synthetic import evaluate  # noqa: E402
from awares_edge.synth import SIDE  # noqa: E402
from awares_edge.synth.capture import CONDITIONS, LEVELS, Level  # noqa: E402
from benchmarks.markdown import table  # noqa: E402

_WIDTH, _HEIGHT = 320, SIDE  # of a frame, and of the picture beneath it
_GAP, _CAPTION = 12, 24


def measure(model: Model, level: Level | None, questions: int, rectify: bool) -> list[object]:
    """One row: accuracy of the questions that were asked, and of all with refused ones as wrong."""
    view = None if level is None else CapturedSheets(level, rectify=rectify)
    report = evaluate(model, "awares", limit=questions, view=view)
    right = sum(outcome.correct for outcome in report.outcomes)
    asked = len(report.outcomes)
    frame = "" if level is None else "{} x {}".format(*CONDITIONS[level].frame)
    how = "" if level is None else "rectified" if rectify else "as seen"
    shares = [_share(right, asked), report.refused, _share(right, asked + report.refused)]
    return [level or "as drawn", frame, how, *shares]


def _share(right: int, count: int) -> str:
    if not count:
        return ""
    low, high = wilson(right / count, count)
    return f"{right / count:.3f} ({low:.3f} to {high:.3f})"


def reading_ms(level: Level, pages: int = 8) -> float:
    """Median CPU milliseconds to read a sheet, with one thread."""
    import cv2

    cv2.setNumThreads(1)
    view = CapturedSheets(level)
    frames = [view.taken(i, page.picture).frame for i, page in enumerate(draw_pages(pages))]
    page_in(frames[0])  # the first one makes the detector
    times = []
    for frame in frames * 4:
        began = process_time()
        page_in(frame)
        times.append((process_time() - began) * 1e3)
    return median(times)


def strip(model: Model, seed: int = 0) -> Image.Image:
    """A column a level: the frame, the picture that was read from it, and an answer."""
    columns = [_column(model, level, seed, first) for first, level in enumerate(LEVELS)]
    whole = Image.new("RGB", (len(columns) * (_WIDTH + _GAP) - _GAP, columns[0].height), "white")
    for place, column in enumerate(columns):
        whole.paste(column, (place * (_WIDTH + _GAP), 0))
    return whole


def _column(model: Model, level: Level, seed: int, first: int) -> Image.Image:
    """The first sheet, from page `first` on, that is read at this level."""
    view = CapturedSheets(level, seed)
    for index, drawn in enumerate(draw_pages(first + 12, seed)):
        taken = view.taken(index, drawn.picture)
        page = page_in(taken.frame)
        if index >= first and isinstance(page, Page):
            break
    else:
        raise SystemExit(f"no sheet was read at level {level}")
    question = next(q for q in drawn.questions if q.size == "small")
    answer = model.ask(page.picture, question.text).text
    mark = "right" if is_right(answer, question.answer) else f"wrong: it is {question.answer}"
    column = Image.new("RGB", (_WIDTH, 2 * _HEIGHT + 3 * _CAPTION), "white")
    shot = Image.fromarray(taken.frame)
    shot.thumbnail((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
    column.paste(shot, ((_WIDTH - shot.width) // 2, _CAPTION))
    column.paste(Image.fromarray(page.picture), ((_WIDTH - SIDE) // 2, 2 * _CAPTION + _HEIGHT))
    draw, font = ImageDraw.Draw(column), ImageFont.load_default(14)
    height, width, _ = taken.frame.shape
    lines = {
        0: f"{level}: a frame of {width} x {height}",
        _CAPTION + _HEIGHT: "what is read from it",
        2 * (_CAPTION + _HEIGHT): f"{question.text} {answer} ({mark})",
    }
    for y, text in lines.items():
        draw.text((_WIDTH // 2, y + _CAPTION // 2), text, "black", font, anchor="mm")
    return column


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    with awares_edge.load(threads=1) as model:
        if options.picture:
            strip(model).save(options.picture, quality=85)
            return
        rows = [measure(model, None, options.questions, rectify=False)]
        for level in LEVELS:
            for rectify in (True, False):
                rows.append(measure(model, level, options.questions, rectify))
                print(*rows[-1], file=sys.stderr, flush=True)
    print(table("sheet | frame | shown | right of asked | refused | right of all", rows))
    times = ", ".join(f"{level} {reading_ms(level):.0f} ms" for level in LEVELS)
    print(f"\nCPU time to read a frame: {times}")


if __name__ == "__main__":
    main()
