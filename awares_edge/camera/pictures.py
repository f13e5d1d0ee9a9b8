"""The open picture that questions are about, from frame to frame."""

from __future__ import annotations

from awares_edge.camera.exchange import Seen
from awares_edge.camera.frames import Frame
from awares_edge.camera.prepare import Preparation, Prepared
from awares_edge.controller import Answer, Model, Picture


class Pictures:
    """One open picture at a time. For one thread.

    Attributes:
        frame: that the open picture shows; None before the first.
        prepared: what was made of the frame.
    """

    def __init__(self, model: Model, prepare: Preparation) -> None:
        self._model, self._prepare = model, prepare
        self._picture: Picture | None = None
        self.frame: Frame | None = None
        self.prepared: Prepared | None = None

    @property
    def picture(self) -> Picture:
        """The open picture."""
        assert self._picture is not None
        return self._picture

    def show(self, frame: Frame) -> None:
        """Open the picture of a newer frame.

        Raises:
            CameraError: there is nothing in it to ask about; the picture before stays open.
        """
        prepared = self._prepare(frame.pixels)
        picture = self._model.open(prepared.pixels)
        self.close()
        self._picture, self.frame, self.prepared = picture, frame, prepared

    def seen(self, answer: Answer) -> Seen:
        """What the model saw for an answer about the open picture."""
        picture = self.picture
        crops = tuple((crop.name, picture.image.crop(crop.box)) for crop in answer.crops)
        return Seen(picture.first_view(answer), crops)

    def close(self) -> None:
        """Give the picture's cache back."""
        if self._picture is not None:
            self._picture.close()
        self._picture = None
