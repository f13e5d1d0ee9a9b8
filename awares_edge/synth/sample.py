"""A synthetic sample: a picture, its questions, and where the evidence for each answer is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from awares_edge.synth.text import Box, Glyph

SIDE = 224
"""Side of every synthetic picture in pixels."""

READ_ALL = "What is written here?"
"""A dense reading exercise, for training only; the answer is a sample's `bindings`."""

Size = Literal["small", "large", "none"]


@dataclass(frozen=True)
class Question:
    """One question about a picture.

    Attributes:
        text: the question as asked.
        answer: the one right answer.
        kind: question type, for reports ("label", "value", "title", "presence", ...).
        evidence: boxes in pixels that hold all that is needed for the answer.
        size: how large the text to be read is drawn; "none" where no text is read.
    """

    text: str
    answer: str
    kind: str
    evidence: tuple[Box, ...] = ()
    size: Size = "none"


@dataclass(frozen=True)
class Thing:
    """A drawn coloured shape and its centre in pixels (for auxiliary targets)."""

    colour: str
    shape: str
    x: float
    y: float


@dataclass(frozen=True)
class Binding:
    """The words that name a thing, and the text written at it."""

    name: str
    text: str
    small: bool


@dataclass
class Sample:
    """A picture [224, 224, 3] with its questions.

    For training only: ``drills`` ask where each thing is ("locate": the answer is the crops of
    its evidence) and what goes with each colour and shape ("match"); ``bindings`` are what
    `READ_ALL` reads out.
    """

    family: str
    picture: NDArray[np.uint8]
    questions: list[Question] = field(default_factory=list)
    glyphs: list[Glyph] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    drills: list[Question] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)
