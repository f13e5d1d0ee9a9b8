"""What is asked: the synthetic suite, or the user's own pictures and questions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from awares_edge.errors import InputError
from awares_edge.evaluation.synthetic import questions as synthetic
from awares_edge.lines import MAX_HELD, numbered_lines, parse_line, place
from awares_edge.protocol.prompt import check_question
from awares_edge.schema import read_dataclass
from awares_edge.synth.generate import Split
from awares_edge.vision.load import load_image


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one picture.

    Attributes:
        text: the question.
        load: reads the picture; called when it is needed, so that pictures do not fill memory.
        sha256: of the question and of the picture's RGB pixels.
        expected: the right answer, where it is known.
    """

    text: str
    load: Callable[[], Image.Image]
    sha256: str
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Questions:
    """A fixed list of questions.

    Attributes:
        source: how to get the same list elsewhere: {"suite": "synth", "split", "seed", "limit"},
            or {"file": name, "limit"}.
        asked: the questions in order.
    """

    source: dict[str, Any]
    asked: tuple[Asked, ...]

    @property
    def sha256(self) -> str:
        """One hash over all questions and pictures, in order."""
        return hash_all(asked.sha256 for asked in self.asked)


def hash_all(hashes: Any) -> str:
    """One SHA-256 over a series of them."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def synthetic_questions(split: Split, seed: int, limit: int) -> Questions:
    """`limit` questions of the synthetic suite."""
    asked = [
        _asked(question.text, image, image.copy, question.answer)
        for _, image, chosen in synthetic(split, seed, limit)
        for question in chosen
    ]
    source = {"suite": "synth", "split": split, "seed": seed, "limit": limit}
    return Questions(source, tuple(asked))


def read_questions(path: Path, limit: int | None = None) -> Questions:
    """Questions of a JSONL file: one object a line, with "image", "question" and perhaps "answer".

    Args:
        path: the file; a relative "image" is relative to its folder.
        limit: read that many lines at most.

    Raises:
        InputError: the file cannot be read, a line has another form, or there is no question.
        ImageError: a picture cannot be used.
    """
    lines = islice(numbered_lines(path, most_bytes=MAX_HELD), limit)
    asked = [_from_line(path, number, line) for number, line in lines]
    if not asked:
        raise InputError(f"{path} has no questions: write one JSON object a line")
    return Questions({"file": path.name, "limit": limit}, tuple(asked))


@dataclass(frozen=True, slots=True)
class _Row:
    image: str
    question: str
    answer: str = ""


def _from_line(path: Path, number: int, line: bytes) -> Asked:
    where = place(path, number)
    body = parse_line(line, where)
    known = {key: body[key] for key in ("image", "question", "answer") if key in body}
    row = read_dataclass(_Row, known, where)
    read = partial(load_image, path.parent / row.image)
    return _asked(check_question(row.question), read(), read, row.answer or None)


def _asked(
    text: str, image: Image.Image, load: Callable[[], Image.Image], expected: str | None
) -> Asked:
    digest = hashlib.sha256(text.encode())
    digest.update(repr(image.size).encode())
    digest.update(image.convert("RGB").tobytes())
    return Asked(text, load, digest.hexdigest(), expected)
