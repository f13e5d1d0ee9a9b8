"""One picture that is asked about."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from PIL import Image

from awares_edge.controller.engine import Engine
from awares_edge.controller.loop import answer_question
from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import Answer, Event
from awares_edge.controller.views import PictureViews
from awares_edge.errors import SessionError
from awares_edge.protocol.prompt import check_question
from awares_edge.vision.load import ImageSource, load_image


class Picture:
    """A picture to ask about. Close it (or use `with`) to give its cache back.

    Questions follow one another: each starts from the picture's kept KV and forgets the question
    before. One question at a time; for several threads open several pictures.
    """

    def __init__(self, engine: Engine, image: ImageSource) -> None:
        self.views = PictureViews(engine, load_image(image))
        self._busy = threading.Lock()
        self._closed = False

    @property
    def image(self) -> Image.Image:
        """The upright RGB picture as loaded."""
        return self.views.image

    def first_view(self, answer: Answer) -> Image.Image:
        """What the model was shown first for this answer, before it is resized to whole tokens."""
        whole = answer.visual_tokens.low == answer.visual_tokens.full
        return self.views.source if whole else self.views.low_res_view()

    def ask(self, question: str, options: AskOptions | None = None) -> Answer:
        """Ask and wait for the answer; see `Model.ask` for the errors."""
        *_, answer = self.stream(question, options)
        assert isinstance(answer, Answer)
        return answer

    def stream(self, question: str, options: AskOptions | None = None) -> Iterator[Event]:
        """Ask and follow: text as it comes, crops as they are chosen, and last the `Answer`.

        Closing the iterator early cancels the question and leaves the picture usable.
        """
        check_question(question)
        return self._answer(question, options or AskOptions())

    def _answer(self, question: str, options: AskOptions) -> Iterator[Event]:
        if not self._busy.acquire(blocking=False):
            raise SessionError(
                "this picture is answering another question: finish or close that one first"
            )
        try:
            if self._closed:
                raise SessionError("this picture is closed: open it again")
            yield from answer_question(self.views, question, options)
        finally:
            self.views.rewind()
            self._busy.release()

    def close(self) -> None:
        """Give the cache's memory back. Closing twice is allowed."""
        self._closed = True
        self.views.close()

    def __enter__(self) -> Picture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
