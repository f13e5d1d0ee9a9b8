"""What a question is: of a published benchmark, a file, or the synthetic suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from awares_edge.vision.load import ImageSource


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one picture.

    Attributes:
        id: for people; unique within its suite.
        image: the picture: encoded bytes, a path, or a Pillow image.
        prompt: what the model is asked, suffix included.
        references: accepted answers.
        facts: what else the score, the totals or a mode needs, as text.
    """

    id: str
    image: ImageSource
    prompt: str
    references: tuple[str, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadQuestion:
    """A row of the data that is not a question, and why."""

    reason: str
