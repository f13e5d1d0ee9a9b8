"""One open picture from frame to frame: what looks the same is not computed again."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import cast

from PIL import Image, ImageChops

from awares_edge.camera.exchange import Seen
from awares_edge.controller import (
    About,
    Answer,
    Askable,
    AskOptions,
    Event,
    OpenPicture,
    Picture,
)
from awares_edge.controller.trace import View
from awares_edge.controller.views import Unchanged
from awares_edge.errors import ImageError, InputError, Interrupted
from awares_edge.protocol.crops import Box
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.vision.load import ImageSource

THRESHOLD = 32
"""Two pictures look the same if no pixel differs by more levels of 255 in any colour.

They are compared at the size at which the model sees them. A sensor's noise of up to 4 levels
(standard deviation) stays below it; a letter that becomes another one does not, from a contrast of
66 levels on. Noise above it costs speed only."""


def largest_change(one: Image.Image, other: Image.Image) -> int:
    """Largest difference of a pixel in any colour, 0 to 255; 256 for pictures of two sizes."""
    if one.size != other.size:
        return 256
    extremes = ImageChops.difference(one, other).getextrema()
    return max(int(high) for _, high in cast("tuple[tuple[int, int], ...]", extremes))


def look_the_same(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures look the same to a model: see `THRESHOLD`."""
    return largest_change(one, other) <= THRESHOLD


@dataclass(frozen=True, slots=True)
class Kept:
    """What an answer did not have to compute.

    Attributes:
        view: whether the first view was in the cache.
        regions: regions whose features were kept.
        tokens: visual tokens of both.
    """

    view: bool
    regions: int
    tokens: int


class ReusingModel:
    """A model that keeps its newest picture open and shows it the next frame's pixels.

    One picture at a time, for one thread at a time. A model that is not on this machine opens each
    picture anew.
    """

    def __init__(self, model: Askable) -> None:
        self._model = model
        self._picture: OpenPicture | None = None
        self._compared: tuple[ImageSource, Unchanged | None] | None = None
        self._views: frozenset[View] = frozenset()
        self._regions: dict[Box, Image.Image] = {}

    @property
    def protocol(self) -> ProtocolProfile:
        return self._model.protocol

    @property
    def about(self) -> About:
        return self._model.about

    def open(self, image: ImageSource) -> OpenPicture:
        """The next frame. What was opened before must be closed."""
        unchanged, self._compared = self._compare(image), None
        if unchanged is not None and isinstance(self._picture, Picture):
            self._picture.renew(unchanged)
        else:
            self.close()
            self._picture = self._model.open(image)
        return _Lent(self, self._picture)

    def stands(self, answer: Answer, image: ImageSource) -> bool:
        """Whether the last answer is still right: all that the model saw looks the same."""
        unchanged = self._compare(image)
        return unchanged is not None and unchanged.holds(answer)

    def _compare(self, image: ImageSource) -> Unchanged | None:
        """None where nothing is kept, or the size is another. Once for `stands` and `open`."""
        if self._compared is None or self._compared[0] is not image:
            self._compared = image, self._compare_now(image)
        return self._compared[1]

    def _compare_now(self, image: ImageSource) -> Unchanged | None:
        if not isinstance(self._picture, Picture):
            return None
        try:
            return self._picture.compare(image, look_the_same)
        except ImageError:
            return None

    def note(self) -> None:
        """Remember what is kept now, before a question."""
        views = self._picture.views if isinstance(self._picture, Picture) else None
        self._views = frozenset() if views is None else views.cached
        self._regions = {} if views is None else views.kept()

    def kept(self, answer: Answer) -> Kept:
        """What the last answer did not have to compute."""
        view = answer.view in self._views
        crops = [crop.tokens for crop in answer.crops if crop.box in self._regions]
        return Kept(view, len(crops), sum(crops) + (answer.visual_tokens.low if view else 0))

    def seen(self, answer: Answer) -> Seen:
        """What the model saw for the last answer."""
        picture = self._picture
        assert picture is not None
        kept = picture.views.kept() if isinstance(picture, Picture) else {}
        crops = tuple(
            (crop.name, kept.get(crop.box) or picture.image.crop(crop.box)) for crop in answer.crops
        )
        return Seen(picture.first_view(answer), crops)

    def ask(self, image: ImageSource, question: str, options: AskOptions | None = None) -> Answer:
        with self.open(image) as picture:
            return picture.ask(question, options)

    def close(self) -> None:
        """Close the picture; the model stays open."""
        if self._picture is not None:
            self._picture.close()
        self._picture = None

    def __enter__(self) -> ReusingModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Lent:
    """The open picture for one frame; closing it only gives it back."""

    def __init__(self, model: ReusingModel, picture: OpenPicture) -> None:
        self._model, self._picture = model, picture

    @property
    def image(self) -> Image.Image:
        return self._picture.image

    def first_view(self, answer: Answer) -> Image.Image:
        return self._picture.first_view(answer)

    def ask(self, question: str, options: AskOptions | None = None) -> Answer:
        *_, answer = self.stream(question, options)
        assert isinstance(answer, Answer)
        return answer

    def stream(
        self, question: str, options: AskOptions | None = None
    ) -> Generator[Event, None, None]:
        self._model.note()
        try:
            yield from self._picture.stream(question, options)
        except (Interrupted, InputError, GeneratorExit):
            raise  # the picture is as it was
        except BaseException:
            self._model.close()  # its state is not known
            raise

    def forget(self) -> None:
        self._picture.forget()

    def close(self) -> None:
        pass

    def __enter__(self) -> _Lent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
