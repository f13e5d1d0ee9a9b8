"""Documents: a banner with a title, lettered fields, a total, a reference at the foot."""

from __future__ import annotations

import numpy as np

from awares_edge.synth.canvas import COLOURS, Canvas, code, title, union
from awares_edge.synth.oracle import is_clear
from awares_edge.synth.sample import SIDE, Binding, Question, Sample, Size
from awares_edge.synth.text import Box, cap_height


def document(rng: np.random.Generator, limit: int = 0, *, family: str = "document") -> Sample:
    """A form: fields in one or two columns, each a large letter and a small or large code.

    ``limit`` is the number of fields, in one column; without it there are 3 to 6.
    """
    canvas = Canvas(rng)
    banner = str(rng.choice([c for c in COLOURS if c != "yellow"]))
    canvas.rect((0, 0, SIDE, 36), canvas.tint(banner))
    questions = [title(canvas, 6, (255, 255, 255))]
    questions.append(Question("What color is the banner?", banner, "color"))
    foot = int(rng.integers(3))  # 0 nothing, 1 total, 2 reference
    columns = 1 if limit else int(rng.integers(1, 3))
    rows = limit or int(rng.integers(3, 5)) if columns == 1 else int(rng.integers(2, 4))
    top, bottom = 44, 214 if foot == 0 else 176
    pitch = (bottom - top) // rows
    indents = [int(rng.integers(6, 100))] if columns == 1 else [6, 118]
    shifts = [int(rng.integers(0, 12)) if columns == 2 else 0 for _ in indents]
    count = 0
    drills: list[Question] = []
    bindings: list[Binding] = []
    for column, indent in enumerate(indents):
        for row in range(rows):
            key = "ABCDEFGH"[count]
            count += 1
            y = top + pitch * row + int(rng.integers(0, max(1, pitch - 27))) + 24
            asked, located, binding = _field(canvas, key, indent + shifts[column], y)
            questions += asked
            drills.append(located)
            bindings.append(binding)
    questions.append(Question("How many fields are there?", str(count), "count"))
    if foot:
        questions.append(_foot(canvas, foot == 1))
    has_total = "yes" if foot == 1 else "no"
    if foot or rng.random() < 0.5:
        questions.append(Question("Is there a total?", has_total, "presence"))
    sample = canvas.sample(family, questions)
    sample.drills, sample.bindings = drills, bindings
    return sample


def _field(
    canvas: Canvas, key: str, x: int, baseline: int
) -> tuple[list[Question], Question, Binding]:
    small = bool(canvas.rng.random() < 0.6)
    size = canvas.size(small)
    value = code(canvas.rng)
    letter = canvas.text(x, baseline, key, 22)
    lift = (cap_height(canvas.font, 22) - cap_height(canvas.font, size)) // 2
    text = canvas.text(x + 24, baseline - lift, value, size)
    box: Box = union(letter, text)
    binding = Binding(key, value, small)
    located = Question(f"What crop is field {key} in?", "", "locate", (box,))
    if small and not is_clear([box]):
        return [], located, binding
    name: Size = "small" if small else "large"
    return (
        [Question(f"What is written in field {key}?", value, "field", (box,), name)],
        located,
        binding,
    )


def _foot(canvas: Canvas, total: bool) -> Question:
    """A total on a yellow band, or a reference code; both may cross the middle."""
    rng = canvas.rng
    small = bool(rng.random() < 0.6)
    size = canvas.size(small)
    name: Size = "small" if small else "large"
    if total:
        canvas.rect((0, 186, SIDE, 218), canvas.tint("yellow"))
        value = str(int(rng.integers(100, 1000)))
        wide = canvas.width("TOTAL", 20) + 10 + canvas.width(value, size)
        x = int(rng.integers(4, SIDE - wide - 3))
        word = canvas.text(x, 209, "TOTAL", 20)
        lift = (cap_height(canvas.font, 20) - cap_height(canvas.font, size)) // 2
        number = canvas.text(word[2] + 10, 209 - lift, value, size)
        return Question("What is the total?", value, "total", (union(word, number),), name)
    value = f"{code(rng)} {code(rng)}"
    wide = canvas.width(value, size)
    x = (SIDE - wide) // 2 + int(rng.integers(-4, 5))
    box = canvas.text(x, 202 + cap_height(canvas.font, size) // 2, value, size)
    return Question("What is the reference?", value, "reference", (box,), name)
