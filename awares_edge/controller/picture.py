"""One picture that is asked about: its views, its crops, and their share of the KV cache."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from PIL import Image

from awares_edge.controller.loop import AskOptions, answer_question
from awares_edge.controller.trace import Answer, Event, TurnTrace
from awares_edge.errors import SessionError
from awares_edge.protocol.crops import Box, Crop
from awares_edge.protocol.prompt import check_question
from awares_edge.runtimes.base import EncodedImage, Mark, Session
from awares_edge.vision.geometry import visual_tokens
from awares_edge.vision.load import ImageSource, load_image
from awares_edge.vision.patches import extract_patches

if TYPE_CHECKING:
    from awares_edge.controller.model import Model

View: TypeAlias = Literal["low", "full"]


@dataclass(slots=True)
class ViewState:
    """One view of the picture in its own session.

    Attributes:
        session: holds the system prompt, then the view, then one question at a time.
        base: the point after the system prompt.
        image: the encoded view.
        mark: the point after the view, once it is in the cache.
    """

    session: Session
    base: Mark
    image: EncodedImage
    mark: Mark | None = None


class Picture:
    """A picture to ask about. Close it (or use `with`) to give its cache back.

    Questions follow one another: each starts from the picture's kept KV and forgets the question
    before. One question at a time; for several threads open several pictures.

    Attributes:
        image: upright RGB picture as loaded.
        source: what the views are cut from: `image`, scaled down to the protocol's source limits.
    """

    def __init__(self, model: Model, image: ImageSource) -> None:
        self.model = model
        self.image = load_image(image)
        self.source = model.protocol.source_view(self.image)
        self._views: dict[View, ViewState] = {}
        self._crops: dict[Crop, EncodedImage] = {}
        self._busy = threading.Lock()
        self._closed = False

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
            yield from answer_question(self, question, options)
        finally:
            for view in self._views.values():
                view.session.rewind(view.mark or view.base)
            self._busy.release()

    def low_res_view(self) -> Image.Image:
        """The picture as the model sees it first."""
        return self.model.protocol.low_res_view(self.source)

    def tokens(self, size: tuple[int, int]) -> int:
        """Visual tokens of a picture of this size (width, height) under the protocol's limits."""
        protocol = self.model.protocol
        return visual_tokens(
            *size,
            min_pixels=protocol.min_pixels,
            max_pixels=protocol.max_pixels,
            factor=self.model.preprocessing.factor,
        )

    def view(self, kind: View, trace: TurnTrace) -> ViewState:
        """The session that holds this view, made on first use."""
        if kind not in self._views:
            with trace.time("preprocess"):
                image = self.low_res_view() if kind == "low" else self.source
            encoded = self._encode(image, trace)
            with trace.time("prefill"):
                session = self.model.open_session()
            self._views[kind] = ViewState(session, session.mark(), encoded)
        return self._views[kind]

    def encode_crop(self, crop: Crop, trace: TurnTrace) -> EncodedImage:
        """A crop after the vision tower; each is encoded once per picture."""
        if crop not in self._crops:
            with trace.time("preprocess"):
                image = self.source.crop(crop.box)
            self._crops[crop] = self._encode(image, trace)
        return self._crops[crop]

    def to_image_box(self, box: Box) -> Box:
        """A box in `source` as pixels of `image`."""
        scale_x = self.image.width / self.source.width
        scale_y = self.image.height / self.source.height
        left, top, right, bottom = box
        return (
            round(left * scale_x),
            round(top * scale_y),
            round(right * scale_x),
            round(bottom * scale_y),
        )

    def _encode(self, image: Image.Image, trace: TurnTrace) -> EncodedImage:
        protocol = self.model.protocol
        with trace.time("preprocess"):
            patches = extract_patches(
                image,
                self.model.preprocessing,
                min_pixels=protocol.min_pixels,
                max_pixels=protocol.max_pixels,
            )
        with trace.time("vision"):
            return self.model.runtime.encode_image(patches)

    def close(self) -> None:
        """Give the cache's memory back. Closing twice is allowed."""
        self._closed = True
        for view in self._views.values():
            view.session.close()
        self._views.clear()
        self._crops.clear()

    def __enter__(self) -> Picture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
