"""Sessions that show what passes through them, and may change the logits that come back.

`watch` puts them between a controller and a runtime. The controller does what it always does; the
runtime computes what it always computes; the observer sees every row of logits and the tokens in
the cache at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from awares_edge.controller.model import Model
from awares_edge.runtimes.base import (
    EncodedImage,
    Logits,
    Mark,
    Runtime,
    Segment,
    Session,
    TextSegment,
)
from awares_edge.vision.patches import Patches

IMAGE_CELL = -1
"""Stands for each visual token in `WatchedSession.ids`."""


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """A picture in a cache.

    Attributes:
        cell: its first cell.
        image: as encoded.
    """

    cell: int
    image: EncodedImage

    @property
    def end(self) -> int:
        return self.cell + self.image.grid.tokens


Observer: TypeAlias = "Callable[[WatchedSession, Logits], Logits]"
"""Called after each prefill with the session and float32 [kept, vocabulary]; returns the logits
that the controller gets."""


class WatchedSession:
    """A session that remembers what its cache holds.

    Has the interface of `Session`; the wrapped session does all bookkeeping.

    Attributes:
        ids: one a cell: token ids, `IMAGE_CELL` for visual tokens.
        appended: cells that the last prefill added.
        images: the pictures in the cache.
        notes: what an observer keeps, by the number of cells before it; cut back with the cache.
    """

    def __init__(self, inner: Session, observer: Observer) -> None:
        self._inner, self._observer = inner, observer
        self.ids: list[int] = []
        self.appended = 0
        self.images: list[PlacedImage] = []
        self.notes: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def prefill(self, segments: Sequence[Segment], *, keep_logits: int = 1) -> Logits:
        logits = self._inner.prefill(segments, keep_logits=keep_logits)
        self.appended = sum(segment.cells for segment in segments)
        for segment in segments:
            if isinstance(segment, TextSegment):
                self.ids += segment.ids
            else:
                self.images.append(PlacedImage(len(self.ids), segment.image))
                self.ids += [IMAGE_CELL] * segment.cells
        return self._observer(self, logits)

    def decode(self, token: int) -> Logits:
        row: Logits = self.prefill([TextSegment((token,))])[0]
        return row

    def rewind(self, mark: Mark) -> None:
        self._inner.rewind(mark)
        del self.ids[mark.cells :]
        self.images = [placed for placed in self.images if placed.end <= mark.cells]
        self.notes = {at: note for at, note in self.notes.items() if at <= mark.cells}

    def fork(self) -> WatchedSession:
        copy = WatchedSession(self._inner.fork(), self._observer)
        copy.ids, copy.images, copy.notes = list(self.ids), list(self.images), dict(self.notes)
        return copy


class WatchedRuntime:
    """A runtime whose sessions are watched; everything else is passed on.

    Attributes:
        encoded: every picture encoded since it was last cleared, with the pixels it was made of.
    """

    def __init__(self, inner: Runtime, observer: Observer) -> None:
        self._inner, self._observer = inner, observer
        self.encoded: list[tuple[EncodedImage, Patches]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def encode_image(self, patches: Patches) -> EncodedImage:
        image = self._inner.encode_image(patches)
        self.encoded.append((image, patches))
        return image

    def open_session(self, context: int | None = None) -> WatchedSession:
        return WatchedSession(self._inner.open_session(context), self._observer)

    def close(self) -> None:
        """Nothing: the caller closes the runtime."""


def watch(model: Model, observer: Observer) -> tuple[Model, WatchedRuntime]:
    """A model that computes with `model`'s runtime, watched. Close it before `model`."""
    runtime = WatchedRuntime(model.runtime, observer)
    watched = Model(
        cast("Runtime", runtime),
        model.tokenizer,
        model.special,
        model.protocol,
        model.preprocessing,
        model.calibration,
    )
    return watched, runtime


def assistant_opening(model: Model) -> tuple[int, ...]:
    """Token ids that open every reply."""
    return (model.special.im_start, *model.tokenizer.encode("assistant\n"))


def turn_starts(ids: Sequence[int], opening: Sequence[int]) -> list[int]:
    """Where each reply begins: the cells after each `opening`."""
    first, length = opening[0], len(opening)
    return [
        at + length
        for at, token in enumerate(ids)
        if token == first and tuple(ids[at : at + length]) == tuple(opening)
    ]
