"""What is opened and asked behind an endpoint: `Askable` and `OpenPicture` over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from PIL import Image

from awares_edge.controller.askable import About
from awares_edge.controller.asked import AskedPicture
from awares_edge.controller.cuts import PictureCuts
from awares_edge.controller.generated import Limits
from awares_edge.controller.loop import answer_question
from awares_edge.controller.options import AskOptions
from awares_edge.controller.shown import Shown
from awares_edge.controller.trace import Answer, Event, TurnTrace, View
from awares_edge.errors import InputError, SessionError
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.protocol.prompt import check_question
from awares_edge.remote import messages, own
from awares_edge.remote.dialogue import Conversation, RemoteDialogue
from awares_edge.remote.link import Link
from awares_edge.remote.messages import Message
from awares_edge.remote.pictures import FACTOR, PictureFormat, data_url
from awares_edge.vision.load import ImageSource, load_image
from awares_edge.vision.patches import resize_picture


class RemoteModel:
    """A model behind an endpoint; `connect` makes it. Safe to share between threads.

    Attributes:
        protocol: the profile in force.
        about: the server, and what it says about itself.
    """

    def __init__(
        self,
        link: Link,
        protocol: ProtocolProfile,
        about: About,
        pictures: PictureFormat = "png",
    ) -> None:
        self.protocol = protocol
        self.about = about
        self._link = link
        self._pictures = pictures

    def open(self, image: ImageSource) -> RemotePicture:
        """Load a picture to ask several questions about. Nothing is sent before the first one.

        Raises:
            ImageError: it cannot be used.
            SessionError: this is closed.
        """
        self._link.server.check()
        upright = load_image(image)
        if self._link.served.own is not None:
            return OwnPicture(self._link, self.protocol, self._pictures, upright)
        return PlainPicture(self._link, self.protocol, self._pictures, upright, self.about)

    def ask(self, image: ImageSource, question: str, options: AskOptions | None = None) -> Answer:
        """Ask one question about one picture.

        Raises:
            ImageError, QuestionError, InputError: the input cannot be used.
            EndpointError: the server cannot be reached, or gives no usable answer.
            ContextOverflow: picture and question do not fit into the server's context.
            SessionError: this is closed, or was closed by another thread meanwhile.
            Interrupted: the deadline passed or the caller cancelled.
        """
        with self.open(image) as picture:
            return picture.ask(question, options)

    def through(self, wrap: Callable[[Link], Link]) -> RemoteModel:
        """The same model, asked through another link. Close only the first one.

        Args:
            wrap: makes that link of this one's.
        """
        return RemoteModel(wrap(self._link), self.protocol, self.about, self._pictures)

    def close(self) -> None:
        """End every question, and all connections. Closing twice is allowed."""
        self._link.server.close()

    def __enter__(self) -> RemoteModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RemotePicture(AskedPicture):
    """A picture to ask a server about. One question at a time; open several for several threads.

    A question that is interrupted or fails leaves the conversation as it was.
    """

    def __init__(
        self,
        link: Link,
        profile: ProtocolProfile,
        pictures: PictureFormat,
        image: Image.Image,
    ) -> None:
        super().__init__(PictureCuts(profile, FACTOR, image))
        self._link, self._profile, self._pictures = link, profile, pictures
        self._closed = False

    def stream(
        self, question: str, options: AskOptions | None = None
    ) -> Generator[Event, None, None]:
        """Ask and follow: text as it comes, crops as they are chosen, and last the `Answer`.

        Closing the generator early closes the connection, which ends the server's work.
        """
        options = options or AskOptions()
        if options.grammar is not None:
            raise InputError(
                "a grammar of tokens needs the model on this machine: leave it out for an endpoint"
            )
        return self._answer(check_question(question), options)

    def forget(self) -> None:
        """Forget the conversation.

        Raises:
            SessionError: a question is being answered, or this is closed.
        """
        self._check()
        with self._in_use():
            self._forget()

    def close(self) -> None:
        """Give back what is kept for it. Closing twice is allowed."""
        self._closed = True

    def _answer(self, question: str, options: AskOptions) -> Generator[Event, None, None]:
        self._check()
        with self._in_use():
            limits = Limits.of(options, self._profile)
            for event in self._events(question, options, limits):
                self._check()
                yield event

    def _check(self) -> None:
        if self._closed:
            raise SessionError("this picture is closed: open it again")
        self._link.server.check()

    def _events(self, question: str, options: AskOptions, limits: Limits) -> Iterator[Event]:
        raise NotImplementedError

    def _forget(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> RemotePicture:
        return self


class PlainPicture(RemotePicture):
    """A picture for a server that only completes chats: the loop runs here."""

    def __init__(
        self,
        link: Link,
        profile: ProtocolProfile,
        pictures: PictureFormat,
        image: Image.Image,
        about: About,
    ) -> None:
        super().__init__(link, profile, pictures, image)
        self._about = about
        self._talks: dict[View, Conversation] = {}
        self._views: dict[View, str] = {}

    def _events(self, question: str, options: AskOptions, limits: Limits) -> Iterator[Event]:
        for name, given in (
            ("decision_bias", options.decision_bias),
            ("abstain_below", options.policies.abstain_below),
        ):
            if given is not None:
                raise InputError(
                    f"{name} needs logits, which a server does not report: leave it out"
                )
        dialogue = RemoteDialogue(
            self._link, self._cuts, options, limits, self._talks, self._encode
        )
        return answer_question(self._cuts, dialogue, self._about, question, options)

    def _encode(self, what: View | Shown, trace: TurnTrace) -> str:
        """The data URL of a view, which is kept, or of a region."""
        with trace.time("preprocess"):
            if isinstance(what, Shown):
                return self._url(self._cuts.scaled(what))
            if what not in self._views:
                self._views[what] = self._url(self._cuts.cut(what))
            return self._views[what]

    def _url(self, image: Image.Image) -> str:
        profile = self._profile
        limits = {"min_pixels": profile.min_pixels, "max_pixels": profile.max_pixels}
        return data_url(resize_picture(image, FACTOR, **limits), self._pictures)

    def _forget(self) -> None:
        self._talks.clear()

    def close(self) -> None:
        super().close()
        self._talks, self._views = {}, {}


class OwnPicture(RemotePicture):
    """A picture for our own server: the loop runs there.

    A conversation is sent as messages, of which the server makes one question (docs/serve.md).
    """

    _talk: tuple[Message, ...] = ()
    _sent: str = ""

    def _events(self, question: str, options: AskOptions, limits: Limits) -> Iterator[Event]:
        own.check_options(options)
        limits.check("")
        before = self._talk if options.follow_up else ()
        if before:
            asked: Message = {"role": "user", "content": question}
        else:
            self._sent = self._sent or data_url(self.image, self._pictures)
            asked = messages.ask_about(self._sent, question)
        talk = [*before, asked]
        for event in own.answer_events(self._link, talk, options, limits):
            if isinstance(event, Answer):
                self._talk = (*talk, messages.said(event.text))
            yield event

    def _forget(self) -> None:
        self._talk = ()

    def close(self) -> None:
        super().close()
        self._talk, self._sent = (), ""
