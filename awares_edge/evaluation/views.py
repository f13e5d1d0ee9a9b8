"""How the synthetic suite's pictures reach the model, if not as they were drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from awares_edge.synth.sample import Question


@dataclass(frozen=True)
class Refused:
    """A picture that did not reach the model, and why; its questions are not asked."""

    reason: str


class View(Protocol):
    """How pictures reach the model, such as through a camera."""

    def show(
        self, index: int, picture: Image.Image, questions: list[Question]
    ) -> tuple[Image.Image, list[Question]] | Refused:
        """What the model is shown of a picture, and the questions with their evidence in it.

        Args:
            index: of the picture; the result depends only on the arguments.
        """
        ...

    def pins(self) -> dict[str, Any]:
        """What identifies the view, as JSON."""
        ...
