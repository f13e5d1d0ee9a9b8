"""The narrow seam between the controller and what computes: `Runtime` and `Session`.

A `Runtime` is a loaded model: it encodes pictures and opens sessions. A `Session` is one KV cache
that only grows at its end and can be cut back: prefill, decode, mark, rewind, fork. Cells and
M-RoPE positions are counted here, once, for every backend; a backend implements the four private
hooks and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import ContextOverflow, SessionError
from awares_edge.vision.geometry import Grid
from awares_edge.vision.patches import Patches
from awares_edge.vision.positions import image_advance, image_positions, text_positions

Logits: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A picture after the vision tower; reusable in any session of the runtime that made it.

    Attributes:
        features: what the runtime splices in for the picture's tokens; for most of them float32
            [grid.tokens, hidden], in raster order.
        grid: size in patches.
    """

    features: Any
    grid: Grid


@dataclass(frozen=True, slots=True)
class TextSegment:
    """Token ids to append, as they are."""

    ids: tuple[int, ...]

    @property
    def cells(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class ImageSegment:
    """An encoded picture to append (without its surrounding vision tokens, which are text)."""

    image: EncodedImage

    @property
    def cells(self) -> int:
        return self.image.grid.tokens


Segment: TypeAlias = TextSegment | ImageSegment


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in a session's past to rewind to.

    Attributes:
        cells: KV cells in use at that point.
        position: the next M-RoPE position at that point.
    """

    cells: int
    position: int

    def after_text(self, tokens: int) -> Mark:
        """The point that lies `tokens` text tokens after this one."""
        return Mark(self.cells + tokens, self.position + tokens)


class Session(ABC):
    """One KV cache. Not thread-safe: one session belongs to one thread at a time.

    Attributes:
        context: KV cells this session can hold.
    """

    def __init__(self, context: int, mark: Mark | None = None) -> None:
        self.context = context
        self._mark = mark or Mark(0, 0)
        self._closed = False

    @property
    def cells(self) -> int:
        """KV cells in use."""
        return self._mark.cells

    @property
    def position(self) -> int:
        """M-RoPE position that the next token will get."""
        return self._mark.position

    def prefill(self, segments: Sequence[Segment], *, keep_logits: int = 1) -> Logits:
        """Append segments to the cache.

        Args:
            segments: what to append, in order; at least one cell in all.
            keep_logits: for how many of the last appended cells logits are wanted.

        Returns:
            float32 [keep_logits, vocabulary] of the last `keep_logits` appended cells.

        Raises:
            ContextOverflow: the cells do not fit; the session is unchanged.
            SessionError: the session is closed, or nothing was given.
        """
        self._require_open()
        segments = [segment for segment in segments if segment.cells]
        count = sum(segment.cells for segment in segments)
        if not 1 <= keep_logits <= count:
            raise SessionError(f"cannot give logits of {keep_logits} of {count} appended tokens")
        if self.cells + count > self.context:
            raise ContextOverflow(
                f"{self.cells} + {count} tokens exceed the context of {self.context}: use a "
                "smaller picture, fewer crops, or a larger --context"
            )
        before, after = self._mark, self.mark_after(segments)
        positions = self._positions(segments)
        try:
            logits = self._forward(segments, positions, keep_logits)
        except BaseException:
            self._truncate(before.cells)
            raise
        self._mark = after
        return logits

    def decode(self, token: int) -> Logits:
        """Append one token; float32 [vocabulary] logits of what follows it."""
        row: Logits = self.prefill([TextSegment((token,))])[0]
        return row

    def mark(self) -> Mark:
        """This point, to `rewind` to."""
        return self._mark

    def mark_after(self, segments: Sequence[Segment]) -> Mark:
        """The point that would be reached by appending `segments` now."""
        cells, position = self.cells, self.position
        for segment in segments:
            cells += segment.cells
            position += (
                segment.cells
                if isinstance(segment, TextSegment)
                else image_advance(segment.image.grid)
            )
        return Mark(cells, position)

    def rewind(self, mark: Mark) -> None:
        """Forget every cell after `mark`. Costs no computation.

        Raises:
            SessionError: the mark lies in the session's future, or the session is closed.
        """
        self._require_open()
        if mark.cells > self.cells:
            raise SessionError(f"cannot rewind to cell {mark.cells} of {self.cells}")
        self._truncate(mark.cells)
        self._mark = mark

    def fork(self) -> Session:
        """A new session that starts as a copy of this one; the two then go their own ways."""
        self._require_open()
        return self._fork()

    def close(self) -> None:
        """Give the cache's memory back. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed:
            raise SessionError("this session is closed: open another one")

    def _positions(self, segments: Sequence[Segment]) -> NDArray[np.int64]:
        parts, position = [], self.position
        for segment in segments:
            if isinstance(segment, TextSegment):
                parts.append(text_positions(position, segment.cells))
                position += segment.cells
            else:
                parts.append(image_positions(position, segment.image.grid))
                position += image_advance(segment.image.grid)
        return np.concatenate(parts, axis=1)

    # What a backend implements. `self.cells` is the number of cells before the call.

    @abstractmethod
    def _forward(
        self, segments: Sequence[Segment], positions: NDArray[np.int64], keep_logits: int
    ) -> Logits:
        """Append non-empty segments at int64 [3, cells] positions; see `prefill`."""

    @abstractmethod
    def _truncate(self, cells: int) -> None:
        """Keep the first `cells` cells only."""

    @abstractmethod
    def _fork(self) -> Session: ...

    @abstractmethod
    def _close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a runtime can do, declared before it runs.

    Attributes:
        keep_logits: logits of several appended tokens at once, so that a tool call's fixed text
            can be checked in one step.
        fork: sessions can be copied, so that the system prompt is computed once per model.
        concurrent: sessions of one runtime may compute in several threads at once.
    """

    keep_logits: bool = True
    fork: bool = True
    concurrent: bool = True


class Runtime(ABC):
    """A loaded model. Safe to share between threads.

    Attributes:
        name: the name in the registry.
        capabilities: what this runtime can do.
        precision: of the weights, as the bundle names it.
        device: where it computes, for people ("cpu", "cuda:0", ...).
        vocabulary: length of a logits row.
        context: most KV cells a session may have.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities] = Capabilities()
    precision: str
    device: str
    vocabulary: int
    context: int

    @abstractmethod
    def encode_image(self, patches: Patches) -> EncodedImage:
        """Run the vision tower on one picture."""

    @abstractmethod
    def open_session(self, context: int | None = None) -> Session:
        """A session with an empty cache of `context` cells (default: the runtime's own limit)."""

    @abstractmethod
    def close(self) -> None:
        """Give the model's memory back. Its sessions must not be used any more."""

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
