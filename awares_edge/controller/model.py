"""A loaded model: opens pictures to ask about."""

from __future__ import annotations

from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.options import AskOptions
from awares_edge.controller.picture import Picture
from awares_edge.controller.trace import Answer
from awares_edge.vision.load import ImageSource


class Model(LoadedModel):
    """A model to ask. Safe to share between threads; close it, or use `with`.

    Attributes:
        runtime: what computes.
        protocol: the profile in force.
        preprocessing: how pixels become patches.
    """

    def open(self, image: ImageSource) -> Picture:
        """Load a picture to ask several questions about; its KV is computed once and kept.

        Raises:
            ImageError: it cannot be used.
            SessionError: the model is closed.
        """
        self.gate.check()
        return Picture(self, image)

    def ask(self, image: ImageSource, question: str, options: AskOptions | None = None) -> Answer:
        """Ask one question about one picture.

        Raises:
            ImageError, QuestionError: the input cannot be used.
            ContextOverflow: picture and question do not fit into the context.
            SessionError: the model is closed, or was closed by another thread meanwhile.
            Interrupted: the deadline passed or the caller cancelled.
        """
        with self.open(image) as picture:
            return picture.ask(question, options)

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
