"""One picture that is asked about."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from awares_edge.controller.asked import AskedPicture
from awares_edge.controller.cached import CachedDialogue
from awares_edge.controller.gate import Gate
from awares_edge.controller.generated import Limits
from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.loop import answer_question
from awares_edge.controller.options import AskOptions
from awares_edge.controller.saved import SavedPicture
from awares_edge.controller.trace import Event
from awares_edge.controller.views import PictureViews, Same, Unchanged
from awares_edge.errors import ImageError
from awares_edge.protocol.prompt import check_question
from awares_edge.vision.load import ImageSource, load_image


class Picture(AskedPicture):
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
        super().__init__(self.views)

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
        with self._in_use(), self._model.gate, self._gate:
            return self.views.compare(newer, same)

    def renew(self, unchanged: Unchanged) -> None:
        """Show the newer picture that was compared with this one, in its place.

        Views that look the same keep their KV cache, regions their vision features. The
        conversation is forgotten.

        Raises:
            SessionError: a question is being answered, or the picture or its model is closed.
        """
        with self._in_use(), self._model.gate, self._gate:
            self.views.renew(unchanged)

    def forget(self) -> None:
        """Forget the conversation; the KV of the picture and the features of its regions are kept.

        Raises:
            SessionError: a question is being answered, or the picture or its model is closed.
        """
        with self._in_use(), self._model.gate, self._gate:
            self.views.forget()

    def save(self) -> SavedPicture:
        """Copy what has been computed of the picture, for `restore` in this process or a later one.

        The conversation is forgotten.

        Raises:
            SessionError: the runtime cannot save sessions; or a question is being answered, or the
                picture or its model is closed.
        """
        with self._in_use(), self._model.gate, self._gate:
            return self.views.save()

    def restore(self, saved: SavedPicture) -> None:
        """Take what was saved of the same picture, under the same model and profile: it is not
        computed again. Only its form is checked; the caller must know what it is of.

        Raises:
            ContextOverflow: it is longer than the context.
            ImageError, SessionError: it does not fit this picture or model, or the picture has been
                asked about already; nothing is restored.
        """
        with self._in_use(), self._model.gate, self._gate:
            self.views.restore(saved)

    def _answer(self, question: str, options: AskOptions) -> Generator[Event, None, None]:
        with self._in_use():
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
