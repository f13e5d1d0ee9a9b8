"""What pictures have in common, whether the model is on this machine or behind an endpoint."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from PIL import Image

from awares_edge.controller.cuts import PictureCuts
from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import Answer, Event
from awares_edge.errors import SessionError


class AskedPicture(ABC):
    """A picture that is asked one question at a time.

    Args:
        cuts: its views and regions.
    """

    def __init__(self, cuts: PictureCuts) -> None:
        self._cuts = cuts
        self._busy = threading.Lock()

    @property
    def image(self) -> Image.Image:
        """The upright RGB picture as loaded."""
        return self._cuts.image

    def first_view(self, answer: Answer) -> Image.Image:
        """What the model was shown first for this answer, before it is resized to whole tokens."""
        return self._cuts.cut(answer.view)

    def ask(self, question: str, options: AskOptions | None = None) -> Answer:
        """Ask and wait for the answer; see `ask` of the model for the errors."""
        *_, answer = self.stream(question, options)
        assert isinstance(answer, Answer)
        return answer

    @abstractmethod
    def stream(
        self, question: str, options: AskOptions | None = None
    ) -> Generator[Event, None, None]:
        """Ask and follow: text as it comes, crops as they are chosen, and last the `Answer`."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is kept for it. Closing twice is allowed."""

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep a second question out until the first has ended.

        Raises:
            SessionError: the picture is in use.
        """
        if not self._busy.acquire(blocking=False):
            raise SessionError(
                "this picture is answering another question: finish or close that one first"
            )
        try:
            yield
        finally:
            self._busy.release()

    def __exit__(self, *_: object) -> None:
        self.close()
