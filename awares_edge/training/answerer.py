"""Answers at both resolutions through the controller, for curation."""

from __future__ import annotations

from PIL import Image

from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions


class ControllerAnswerer:
    """Low- and full-resolution answers of one model, the picture opened once."""

    def __init__(self, model: Model, max_new_tokens: int = 64) -> None:
        self.model = model
        self.low = AskOptions(mode="low", max_new_tokens=max_new_tokens)
        self.full = AskOptions(mode="full", max_new_tokens=max_new_tokens)

    def __call__(self, image: Image.Image, question: str) -> tuple[str, str]:
        with self.model.open(image) as picture:
            return picture.ask(question, self.low).text, picture.ask(question, self.full).text
