"""Scenes: coloured shapes, each with a code under it (or beside it, in the held-back family)."""

from __future__ import annotations

import numpy as np

from awares_edge.synth.canvas import COLOURS, SHAPES, Canvas, article, code, overlap, union
from awares_edge.synth.oracle import is_clear
from awares_edge.synth.sample import SIDE, Binding, Question, Sample
from awares_edge.synth.text import Box, cap_height


def scene(
    rng: np.random.Generator, limit: int = 0, *, beside: bool = False, family: str = "scene"
) -> Sample:
    """3 to 5 shapes (or ``limit``) of different colours and kinds with small or large codes."""
    canvas = Canvas(rng)
    count = limit or int(rng.integers(3, 6))
    colours = [str(c) for c in rng.permutation(list(COLOURS))[:count]]
    shapes = [str(s) for s in rng.permutation(SHAPES)[:count]]
    placed: list[Box] = []
    labelled: list[tuple[str, str, str, bool, Box]] = []
    for colour, shape in zip(colours, shapes, strict=True):
        small = bool(rng.random() < 0.6)
        for attempt in range(40):
            size = canvas.size(small)
            side = int(rng.integers(24, 37))
            label = code(rng)
            width, cap = canvas.width(label, size), cap_height(canvas.font, size)
            w = side + 5 + width if beside else max(side, width)
            h = max(side, cap) if beside else side + 4 + cap
            x = int(rng.integers(4, SIDE - w - 4))
            y = int(rng.integers(4, SIDE - h - 4))
            box = (x, y, x + w, y + h)
            if any(overlap(box, other, 6) for other in placed):
                continue
            if small and not is_clear([box]) and attempt < 25:
                continue
            if beside:
                drawn = canvas.shape(colour, shape, x, y + (h - side) // 2, side)
                text = canvas.text(x + side + 5, y + (h + cap) // 2, label, size)
            else:
                drawn = canvas.shape(colour, shape, x + (w - side) // 2, y, side)
                text = canvas.text(x + (w - width) // 2, y + h, label, size)
            placed.append(box)
            labelled.append((colour, shape, label, small, union(drawn, text)))
            break
    sample = canvas.sample(family)
    sample.questions = _questions(rng, labelled)
    for colour, shape, label, small, box in labelled:
        sample.bindings.append(Binding(f"{colour} {shape}", label, small))
        where = f"What crop is the {colour} {shape} in?"
        sample.drills.append(Question(where, "", "locate", (box,)))
        sample.drills.append(Question(f"What color is the {shape}?", colour, "match"))
        sample.drills.append(Question(f"What shape is the {colour} object?", shape, "match"))
    return sample


def _questions(
    rng: np.random.Generator, labelled: list[tuple[str, str, str, bool, Box]]
) -> list[Question]:
    out = []
    for colour, shape, label, small, box in labelled:
        size = "small" if small else "large"
        if not small or is_clear([box]):
            text = f"What is the label of the {colour} {shape}?"
            out.append(Question(text, label, "label", (box,), size))  # type: ignore[arg-type]
    small_ones = [x for x in labelled if x[3] and is_clear([x[4]])]
    if len(small_ones) >= 2:
        i, j = (int(v) for v in rng.permutation(len(small_ones))[:2])
        a, b = small_ones[i], small_ones[j]
        if is_clear([a[4], b[4]]):
            text = f"What are the labels of the {a[0]} {a[1]} and the {b[0]} {b[1]}?"
            out.append(Question(text, f"{a[2]} {b[2]}", "two labels", (a[4], b[4]), "small"))
    colour, shape, _, _, _ = labelled[int(rng.integers(len(labelled)))]
    out.append(Question(f"What color is the {shape}?", colour, "color"))
    colour, shape, _, _, _ = labelled[int(rng.integers(len(labelled)))]
    out.append(Question(f"What shape is the {colour} object?", shape, "shape"))
    out.append(Question("How many objects are there?", str(len(labelled)), "count"))
    out.append(_presence(rng, labelled))
    return out


def _presence(
    rng: np.random.Generator, labelled: list[tuple[str, str, str, bool, Box]]
) -> Question:
    there = bool(rng.random() < 0.5)
    if there:
        colour, shape = labelled[int(rng.integers(len(labelled)))][:2]
    else:
        # Negatives differ in colour and in shape: easy ones, balanced with the positives.
        colour = str(rng.choice([c for c in COLOURS if c not in {x[0] for x in labelled}]))
        shape = str(rng.choice([s for s in SHAPES if s not in {x[1] for x in labelled}]))
    return Question(
        f"Is there {article(colour)} {colour} {shape}?", "yes" if there else "no", "presence"
    )
