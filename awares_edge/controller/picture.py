"""One picture that is asked about."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from PIL import Image

from awares_edge.controller.cached import CachedDialogue
from awares_edge.controller.gate import Gate
from awares_edge.controller.generated import Limits
from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.loop import answer_question
from awares_edge.controller.options import AskOptions
from awares_edge.controller.saved import SavedPicture
from awares_edge.controller.trace import Answer, Event
from awares_edge.controller.views import PictureViews, Same, Unchanged
from awares_edge.errors import ImageError, SessionError
from awares_edge.protocol.prompt import check_question
from awares_edge.vision.load import ImageSource, load_image


class Picture:
    """A picture to ask about. Close it (or use `with`) to give its cache back.

    Each question starts from the picture's kept KV. Questions before it are forgotten, unless
    `AskOptions.follow_up` keeps them in context: a conversation. It belongs to a view: the low-res
    one, or the whole picture (mode "full", and pictures too small for another). A question that is
    interrupted or fails leaves it as it was. One question at a time; for several threads open
    several pictures.
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

    def stream(
        self, question: str, options: AskOptions | None = None
    ) -> Generator[Event, None, None]:
        """Ask and follow: text as it comes, crops as they are chosen, and last the `Answer`.

        Closing the generator early cancels the question and leaves the picture usable.
        """
        return self._answer(check_question(question), options or AskOptions())

    def compare(self, image: ImageSource, same: Same) -> Unchanged:
        """What looks the same in a newer picture, such as the next frame of a camera.

        It is compared with the pixels that were computed, so small changes add up until they count.

        Args:
            same: whether two RGB pictures of one size look the same.

        Raises:
            ImageError: it cannot be used, or is of another size.
            SessionError: a question is being answered, or the picture or its model is closed.
        """
        newer = load_image(image)
        if newer.size != self.image.size:
            raise ImageError(
                f"a picture of {newer.width} x {newer.height} cannot take the place of one of "
                f"{self.image.width} x {self.image.height}: open it instead"
            )
        with self._answering(), self._model.gate, self._gate:
            return self.views.compare(newer, same)

    def renew(self, unchanged: Unchanged) -> None:
        """Show the newer picture that was compared with this one, in its place.

        Views that look the same keep their KV cache, regions what was computed of them. The
        conversation is forgotten.

        Raises:
            SessionError: a question is being answered, or the picture or its model is closed.
        """
        with self._answering(), self._model.gate, self._gate:
            self.views.renew(unchanged)

    def forget(self) -> None:
        """Forget the conversation; what was computed of the picture and its regions is kept.

        Raises:
            SessionError: a question is being answered, or the picture or its model is closed.
        """
        with self._answering(), self._model.gate, self._gate:
            self.views.forget()

    def save(self) -> SavedPicture:
        """Copy what has been computed of the picture, for `restore` in this process or a later one.

        The conversation is forgotten.

        Raises:
            SessionError: the runtime cannot save sessions; or a question is being answered, or the
                picture or its model is closed.
        """
        with self._answering(), self._model.gate, self._gate:
            return self.views.save()

    def restore(self, saved: SavedPicture) -> None:
        """Take what was saved of the same picture, under the same model and profile: it is not
        computed again. Only its form is checked; the caller must know what it is of.

        Raises:
            ContextOverflow: it is longer than the context.
            ImageError, SessionError: it does not fit this picture or model, or the picture has been
                asked about already; nothing is restored.
        """
        with self._answering(), self._model.gate, self._gate:
            self.views.restore(saved)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """One user of the views at a time."""
        if not self._busy.acquire(blocking=False):
            raise SessionError(
                "this picture is answering another question: finish or close that one first"
            )
        try:
            yield
        finally:
            self._busy.release()

    def _answer(self, question: str, options: AskOptions) -> Generator[Event, None, None]:
        with self._answering():
            try:
                events = self._events(question, options)
                # The gates are passed step by step: a stream left unread keeps nothing open.
                while True:
                    with self._model.gate, self._gate:
                        event = next(events, None)
                    if event is None:
                        return
                    yield event
            finally:
                self._abandon_question()

    def _events(self, question: str, options: AskOptions) -> Iterator[Event]:
        views = self.views
        limits = Limits.of(options, self._model.protocol)
        dialogue = CachedDialogue(views, options, limits)
        return answer_question(views, dialogue, self._model.about, question, options)

    def _abandon_question(self) -> None:
        if not (self._model.gate.closed or self._gate.closed):
            with self._model.gate, self._gate:
                self.views.abandon()

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
