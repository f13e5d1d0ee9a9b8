"""What a camera's frames cost: each opened anew, with kept KV, and with answers that stand.

    python benchmarks/camera_reuse.py [--bundle DIR] [--scenes 10] [--frames 20] [--seed 0]

One question about a small label is asked about every frame of a scripted scene, with a sensor's
noise of 2 levels:

- still: nothing happens;
- beside: a dot moves through the picture, most of the time away from what is asked about;
- detail: every fifth frame the label is another one, and nothing else changes;
- sway: everything moves by a pixel, back and forth;
- cut: every frame is another scene.

"anew" opens each frame; "kept" renews one open picture (`camera.reuse`); "stands" also keeps an
answer while all that the model saw looks the same, as a continuous question does. Tokens are those
that went through the vision tower; milliseconds are of processor time, comparing included. "same"
is the share of answers equal to those of "anew", "right" that of right answers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import TypeAlias

import numpy as np
from markdown import table
from numpy.typing import NDArray

import awares_edge
from awares_edge import Answer
from awares_edge.camera.reuse import THRESHOLD, ReusingModel
from awares_edge.evaluation.answers import is_right
from awares_edge.synth import Sample, generate
from awares_edge.synth.canvas import code
from awares_edge.synth.sample import Question
from awares_edge.synth.text import FONTS, draw_text

Pixels: TypeAlias = NDArray[np.uint8]
WAYS = ("anew", "kept", "stands")
NOISE = 2.0


@dataclass(frozen=True)
class Shown:
    """A frame, what is asked about it, and the right answer."""

    pixels: Pixels
    question: str
    answer: str


@dataclass
class Cost:
    """Sums of one way over a situation."""

    tokens: int = 0
    ms: float = 0.0
    texts: list[str] = field(default_factory=list)


def scenes(seed: int) -> Iterator[tuple[Sample, Question]]:
    """Scenes of the test split, each with a question about a small label."""
    index = 0
    while True:
        sample = generate("test", seed, index, family="scene")
        small = [q for q in sample.questions if q.kind == "label" and q.size == "small"]
        if small:
            yield sample, small[0]
        index += 1


def still(sample: Sample, question: Question, at: int) -> Shown:  # noqa: ARG001
    return Shown(sample.picture, question.text, question.answer)


def beside(sample: Sample, question: Question, at: int) -> Shown:
    pixels = sample.picture.copy()
    x, y = 12 * at % 212, 8 + 5 * at % 200
    pixels[y : y + 8, x : x + 8] = (90, 90, 90)
    return Shown(pixels, question.text, question.answer)


def detail(sample: Sample, question: Question, at: int) -> Shown:
    if at < 5:
        return still(sample, question, at)
    pixels = sample.picture.copy()
    text = "".join(glyph.char for glyph in sample.glyphs)
    first = text.index(question.answer)
    glyphs = sample.glyphs[first : first + len(question.answer)]
    size = glyphs[0].size
    left, top = round(glyphs[0].x - size / 2), round(glyphs[0].y - size / 2) - 1
    right, bottom = round(glyphs[-1].x + size / 2), round(glyphs[-1].y + size / 2) + 2
    pixels[top:bottom, left:right] = pixels[top - 1, right]
    label = code(np.random.default_rng(at // 5))
    baseline = bottom - 3
    draw_text(pixels, left + 2, baseline, label, font=FONTS[0], size=size, colour=(20, 20, 20))
    return Shown(pixels, question.text, label)


def sway(sample: Sample, question: Question, at: int) -> Shown:
    return Shown(np.roll(sample.picture, at % 2, axis=1), question.text, question.answer)


SITUATIONS: dict[str, Callable[[Sample, Question, int], Shown]] = {
    "still": still,
    "beside": beside,
    "detail": detail,
    "sway": sway,
}


def frames(situation: str, number: int, count: int, seed: int) -> Iterator[Shown]:
    """The frames of one scene, with noise."""
    noise = np.random.default_rng([seed, number])
    chosen = scenes(seed + 1000 * number)
    sample, question = next(chosen)
    for at in range(count):
        if situation == "cut":
            shown = still(*next(chosen), at)
        else:
            shown = SITUATIONS[situation](sample, question, at)
        grain = noise.normal(0, NOISE, (*shown.pixels.shape[:2], 1))
        pixels = np.clip(shown.pixels + grain + 0.5, 0, 255).astype(np.uint8)
        yield Shown(pixels, shown.question, shown.answer)


def ask(
    way: str, model: awares_edge.Model, reusing: ReusingModel, shown: Shown, last: Answer | None
) -> tuple[Answer, int]:
    """The answer and the visual tokens that were computed for it."""
    if way == "anew":
        answer = model.ask(shown.pixels, shown.question)
        return answer, answer.visual_tokens.low + answer.visual_tokens.crops
    if way == "stands" and last is not None and reusing.stands(last, shown.pixels):
        return last, 0
    with reusing.open(shown.pixels) as picture:
        answer = picture.ask(shown.question)
    spent = answer.visual_tokens.low + answer.visual_tokens.crops
    return answer, spent - reusing.kept(answer).tokens


def run(
    model: awares_edge.Model, situation: str, scene_count: int, frame_count: int, seed: int
) -> tuple[dict[str, Cost], list[str]]:
    """The costs of each way, and the right answers."""
    costs, right = {way: Cost() for way in WAYS}, []
    for number in range(scene_count):
        shown = list(frames(situation, number, frame_count, seed))
        right += [one.answer for one in shown]
        for way, cost in costs.items():
            last: Answer | None = None
            with ReusingModel(model) as reusing:
                for one in shown:
                    began = process_time()
                    standing = None if situation == "cut" else last
                    last, tokens = ask(way, model, reusing, one, standing)
                    cost.ms += 1e3 * (process_time() - began)
                    cost.tokens += tokens
                    cost.texts.append(last.text)
    return costs, right


def share(found: list[str], expected: list[str]) -> float:
    pairs = zip(found, expected, strict=True)
    return sum(is_right(*pair) for pair in pairs) / len(expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="default: the embedded nano model")
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--frames", type=int, default=20, help="of each scene")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    with awares_edge.load(options.bundle, threads=1) as model:
        model.ask(next(frames("still", 0, 1, 0)).pixels, "What?")  # the runtime's own start
        for situation in (*SITUATIONS, "cut"):
            costs, right = run(model, situation, options.scenes, options.frames, options.seed)
            anew = costs["anew"]
            for way, cost in costs.items():
                rows.append(
                    (
                        *(situation, way, cost.tokens, cost.tokens / anew.tokens),
                        *(cost.ms / len(right), cost.ms / anew.ms),
                        *(share(cost.texts, anew.texts), share(cost.texts, right)),
                    )
                )
    print(f"{options.scenes} scenes of {options.frames} frames, threshold {THRESHOLD}\n")
    print(table("scene | way | tokens | of anew | CPU ms a frame | of anew | same | right", rows))


if __name__ == "__main__":
    main()
