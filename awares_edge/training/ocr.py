"""An oracle that reads: the evidence is where the answer's text stands in the picture.

RapidOCR's package carries its models (PP-OCRv6 small), so nothing is downloaded and no server is
needed. It serves documents, labels and charts. Answers that are not written in the picture ("yes",
"red", a count) are not found, and curation skips those rows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from awares_edge.extras import require
from awares_edge.training.crop_rules import BoxF
from awares_edge.training.oracles import Oracle

_WORD = re.compile(r"\w+(?:[.,:/%-]\w+)*")
_SURE = 0.5
"""Lines that RapidOCR is less sure of are left out, as its own default has it."""


@dataclass(frozen=True)
class Line:
    """A line of text as it was read, and its box in pixels."""

    text: str
    box: BoxF


Reader = Callable[[Image.Image], Sequence[Line]]


class OcrOracle(Oracle):
    """Boxes of the answer's words, as OCR reads them.

    The text of a label is found, but not the thing that it labels.
    """

    name = "ocr"

    def __init__(self, read: Reader | None = None) -> None:
        """``read`` finds the lines of a picture; default: RapidOCR.

        Raises:
            RuntimeUnavailable: RapidOCR is not installed.
        """
        self._read = read or rapidocr()
        self._last: tuple[bytes, Sequence[Line]] = (b"", ())

    def boxes(
        self, image: Image.Image, question: str, answer: str, known: Sequence[BoxF]
    ) -> list[BoxF]:
        """Boxes of the answer; none where a word of it is not found."""
        del question, known
        return locate(answer, self._lines(image))

    def _lines(self, image: Image.Image) -> Sequence[Line]:
        """Lines of the picture; the last one's are kept, for its other questions."""
        key = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()
        if self._last[0] != key:
            self._last = key, self._read(image)
        return self._last[1]


def locate(answer: str, lines: Sequence[Line]) -> list[BoxF]:
    """Boxes of the answer's words in lines of text, case apart.

    Where the whole answer stands in one line, the words are only looked for in such lines. A text
    that occurs several times has several boxes, since each may be the evidence.

    Returns:
        an empty list where a word is found nowhere.
    """
    wanted = [word.group().casefold() for word in _WORD.finditer(answer)]
    read = [(line, _words(line)) for line in lines]
    if whole := [box for line, words in read for box in _runs(wanted, words, line)]:
        return whole
    found: list[BoxF] = []
    for word in dict.fromkeys(wanted):
        boxes = [box for line, words in read for box in _runs([word], words, line)]
        if not boxes:
            return []
        found += boxes
    return found


def _words(line: Line) -> list[tuple[str, int, int]]:
    """Words of a line with their first and last character."""
    return [(m.group().casefold(), m.start(), m.end()) for m in _WORD.finditer(line.text)]


def _runs(wanted: Sequence[str], words: Sequence[tuple[str, int, int]], line: Line) -> list[BoxF]:
    """Boxes of the places in a line where the wanted words follow each other."""
    count = len(wanted)
    if not count:
        return []
    places = range(len(words) - count + 1)
    return [
        _part(line, words[at][1], words[at + count - 1][2])
        for at in places
        if [word for word, _, _ in words[at : at + count]] == list(wanted)
    ]


def _part(line: Line, start: int, end: int) -> BoxF:
    """The box of some characters of a line, taken as equally wide."""
    left, top, right, bottom = line.box
    width = (right - left) / len(line.text)
    return (left + start * width, top, left + end * width, bottom)


def rapidocr() -> Reader:
    """A reader of RapidOCR's kind, with the models in its package.

    Raises:
        RuntimeUnavailable: it is not installed.
    """
    require("the ocr oracle", {"rapidocr": "awares-edge[ocr]"})
    from rapidocr import RapidOCR

    engine: Any = RapidOCR(params={"Global.log_level": "error"})

    def read(image: Image.Image) -> list[Line]:
        found = engine(np.asarray(image.convert("RGB"))[:, :, ::-1])  # it takes BGR, as OpenCV
        if found.boxes is None or found.txts is None:
            return []
        return [
            Line(text, _hull(corners))
            for text, corners, score in zip(found.txts, found.boxes, found.scores, strict=True)
            if text.strip() and score >= _SURE
        ]

    return read


def _hull(corners: Any) -> BoxF:
    """The upright box around a text's four corners."""
    points = np.asarray(corners, dtype=float)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return (float(left), float(top), float(right), float(bottom))
