"""The questions that calibration asks: the user's own, or the synthetic suite's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as count_from
from itertools import islice
from pathlib import Path

import numpy as np

from awares_edge.evaluation import synthetic
from awares_edge.lines import MAX_HELD, numbered_lines, parse_line, place
from awares_edge.schema import read_dataclass
from awares_edge.synth.generate import generate
from awares_edge.synth.oracle import smallest_crops
from awares_edge.vision.load import ImageSource

SYNTHETIC_COUNT = 24


@dataclass(frozen=True, slots=True)
class CalibrationQuestion:
    """A question to measure on, with the crops that it is asked with.

    Attributes:
        crops: sent in a second turn; None lets the model choose, () keeps it to the low-res view.
        answer: the right one; None where it is not known.
    """

    image: ImageSource
    question: str
    crops: tuple[str, ...] | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    image: str
    question: str
    crops: tuple[str, ...] | None = None
    answer: str | None = None


def read_questions(path: Path) -> list[CalibrationQuestion]:
    """Read a file of lines {"image": "a.png", "question": "...", "crops": ["3"], "answer": "42"}.

    Image paths are relative to the file. "crops" and "answer" may be left out, see
    `CalibrationQuestion`; other keys are ignored, and so are empty lines.

    Raises:
        InputError: the file cannot be read, or a line is not as above.
    """
    return [
        _read_line(line, place(path, number), path.parent)
        for number, line in numbered_lines(path, most_bytes=MAX_HELD)
    ]


def synthetic_questions(count: int = SYNTHETIC_COUNT, seed: int = 0) -> list[CalibrationQuestion]:
    """Questions of the synthetic suite's training split, half of them asked in two turns.

    For where there are no pictures of the task: of each picture one question about large things,
    answered from the low-res view, and one about small text, answered from the crops that hold it.
    """
    return list(islice(_synthetic(seed), count))


def held_out_questions(count: int, seed: int = 0) -> list[CalibrationQuestion]:
    """Questions of the synthetic suite's validation split: tests are reported on another."""
    return [
        CalibrationQuestion(image, question.text, answer=question.answer)
        for _, image, chosen in synthetic.questions("validation", seed, count)
        for question in chosen
    ]


def _synthetic(seed: int) -> Iterator[CalibrationQuestion]:
    for index in count_from():
        sample = generate("train", seed, index)
        rng = np.random.default_rng([seed, index])
        small = [q for q in sample.questions if q.size == "small"]
        other = [q for q in sample.questions if q.size != "small"]
        for questions in (other, small):
            if questions:
                chosen = questions[int(rng.integers(len(questions)))]
                crops = smallest_crops(chosen.evidence) if questions is small else ()
                yield CalibrationQuestion(sample.picture, chosen.text, crops)


def _read_line(line: bytes, where: str, folder: Path) -> CalibrationQuestion:
    body = parse_line(line, where)
    known = {key: body[key] for key in ("image", "question", "crops", "answer") if key in body}
    row = read_dataclass(_Row, known, where)
    return CalibrationQuestion(folder / row.image, row.question, row.crops, row.answer)
