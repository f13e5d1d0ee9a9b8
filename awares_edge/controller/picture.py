"""One picture that is asked about."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from PIL import Image

from awares_edge.controller.gate import Gate
from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.loop import answer_question
from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import Answer, Event
from awares_edge.controller.views import PictureViews
from awares_edge.errors import SessionError
from awares_edge.vision.load import ImageSource, load_image


class Picture:
    """A picture to ask about. Close it (or use `with`) to give its cache back.

    Questions follow one another: each starts from the picture's kept KV and forgets the question
    before. One question at a time; for several threads open several pictures.
    """

    def __init__(self, model: LoadedModel, image: ImageSource) -> None:
        self.views = PictureViews(model, load_image(image))
        self._model = model
        self._gate = Gate("this picture is closed: open it again")
        self._busy = threading.Lock()

    @property
    def image(self) -> Image.Image:
        """The upright RGB picture as loaded."""
        return self.views.image

    def first_view(self, answer: Answer) -> Image.Image:
        """What the model was shown first for this answer, before it is resized to whole tokens."""
        return self.views.cut(answer.view)

    def ask(self, question: str, options: AskOptions | None = None) -> Answer:
        """Ask and wait for the answer; see `Model.ask` for the errors."""
        *_, answer = self.stream(question, options)
        assert isinstance(answer, Answer)
        return answer

    def stream(self, question: str, options: AskOptions | None = None) -> Iterator[Event]:
        """Ask and follow: text as it comes, crops as they are chosen, and last the `Answer`.

        Closing the iterator early cancels the question and leaves the picture usable.
        """
        return self._answer(self._model.prompt.ask(question), options or AskOptions())

    def _answer(self, asked: tuple[int, ...], options: AskOptions) -> Iterator[Event]:
        if not self._busy.acquire(blocking=False):
            raise SessionError(
                "this picture is answering another question: finish or close that one first"
            )
        try:
            events = answer_question(self.views, asked, options)
            # The gates are passed step by step, so that a stream left unread keeps nothing open.
            while True:
                with self._model.gate, self._gate:
                    event = next(events, None)
                if event is None:
                    return
                yield event
        finally:
            try:
                self._forget_question()
            finally:
                self._busy.release()

    def _forget_question(self) -> None:
        if not (self._model.gate.closed or self._gate.closed):
            with self._model.gate, self._gate:
                self.views.rewind()

    def close(self) -> None:
        """Give the cache's memory back. Closing twice is allowed.

        Waits for a step that another thread is computing; its question ends with `SessionError`.
        """
        if self._gate.close():
            self.views.close()

    def __enter__(self) -> Picture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
