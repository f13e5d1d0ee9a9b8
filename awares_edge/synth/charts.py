"""Bar charts: coloured bars, a value above each, a title."""

from __future__ import annotations

import numpy as np

from awares_edge.synth.canvas import COLOURS, Canvas, article, title, union
from awares_edge.synth.oracle import is_clear
from awares_edge.synth.sample import SIDE, Binding, Question, Sample, Size, Thing
from awares_edge.synth.text import Box, cap_height


def chart(
    rng: np.random.Generator, limit: int = 0, *, sideways: bool = False, family: str = "chart"
) -> Sample:
    """3 to 5 bars (or ``limit``); ``sideways`` lays them (the held-back family)."""
    canvas = Canvas(rng)
    count = limit or int(rng.integers(3, 6))
    colours = [str(c) for c in rng.permutation(list(COLOURS))[:count]]
    values = [int(v) for v in rng.permutation(np.arange(10, 100))[:count]]
    for _ in range(50 if count > 1 else 0):
        ordered = sorted(values)
        if ordered[-1] - ordered[-2] >= 8 and ordered[1] - ordered[0] >= 8:
            break
        values = [int(v) for v in rng.permutation(np.arange(10, 100))[:count]]
    questions = [title(canvas, 6)]
    all_small = bool(rng.random() < 0.35)
    boxes: list[Box] = []
    located: list[Question] = []
    bindings: list[Binding] = []
    for i, (colour, value) in enumerate(zip(colours, values, strict=True)):
        small = all_small or bool(rng.random() < 0.55)
        draw = _lying_bar if sideways else _standing_bar
        label, tip = draw(canvas, rng, i, count, colour, value, canvas.size(small))
        text = str(value)
        box = union(label, tip)
        boxes.append(label)
        bindings.append(Binding(colour, text, small))
        located.append(Question(f"What crop is the {colour} bar in?", "", "locate", (box,)))
        if not small or is_clear([box]):
            question = f"What is the value of the {colour} bar?"
            size_name: Size = "small" if small else "large"
            questions.append(Question(question, text, "value", (box,), size_name))
    if not sideways:
        canvas.rect((4, 206, SIDE - 4, 208), canvas.ink)
    if all_small and not sideways and is_clear([union(*boxes)]):
        text = " ".join(str(v) for v in values)
        question = "What are the values from left to right?"
        questions.append(Question(question, text, "all values", (union(*boxes),), "small"))
    word = "longest" if sideways else "tallest"
    tallest, shortest = (
        colours[int(np.argmax(values))],
        colours[int(np.argmin(values))],
    )
    questions.append(Question(f"Which bar is the {word}?", tallest, "compare"))
    questions.append(Question("Which bar is the shortest?", shortest, "compare"))
    questions.append(Question("How many bars are there?", str(count), "count"))
    there = bool(rng.random() < 0.5)
    pool = colours if there else [c for c in COLOURS if c not in colours]
    name = str(rng.choice(pool))
    question = f"Is there {article(name)} {name} bar?"
    questions.append(Question(question, "yes" if there else "no", "presence"))
    sample = canvas.sample(family, questions)
    sample.drills, sample.bindings = located, bindings
    return sample


def _lying_bar(
    canvas: Canvas,
    rng: np.random.Generator,
    place: int,
    count: int,
    colour: str,
    value: int,
    size: int,
) -> tuple[Box, Box]:
    """Draw one bar and its value; the boxes of the value and of the bar's tip."""
    pitch = 178 // max(3, count)
    top = 38 + pitch * place + int(rng.integers(0, 4))
    thick = min(pitch - 8, 26)
    length = 12 + int(value * 1.3)
    canvas.rect((8, top, 8 + length, top + thick), canvas.tint(colour))
    canvas.things.append(Thing(colour, "bar", 8 + length - 10, top + thick / 2))
    cap = cap_height(canvas.font, size)
    label = canvas.text(12 + length, top + (thick + cap) // 2, str(value), size)
    return label, (8 + length - 10, top, 8 + length, top + thick)


def _standing_bar(
    canvas: Canvas,
    rng: np.random.Generator,
    place: int,
    count: int,
    colour: str,
    value: int,
    size: int,
) -> tuple[Box, Box]:
    """As `_lying_bar`."""
    pitch = 208 // max(3, count)
    centre = 8 + pitch * place + pitch // 2 + int(rng.integers(-3, 4))
    half = int(rng.integers(9, min(15, pitch // 2 - 2) + 1))
    top = 206 - 10 - int(value * 1.2)
    canvas.rect((centre - half, top, centre + half, 206), canvas.tint(colour))
    canvas.things.append(Thing(colour, "bar", centre, top + 8))
    text = str(value)
    label = canvas.text(centre - canvas.width(text, size) // 2, top - 4, text, size)
    return label, (centre - half, top, centre + half, top + 8)
