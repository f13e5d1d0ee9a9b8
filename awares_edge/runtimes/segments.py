"""What a session appends: text and pictures, their cells and positions, and the pieces of a call.

Cells and M-RoPE positions are two numbers: a picture of r x c visual tokens takes r * c cells and
moves the next position by max(r, c). Both are counted here, once, for every backend. A pruned
picture takes as many cells as it has tokens left, and moves the position as the whole one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.vision.geometry import Grid
from awares_edge.vision.positions import image_advance, image_positions, text_positions


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A picture after the vision tower; reusable in any session of the runtime that made it.

    Attributes:
        features: what the runtime splices in for the picture's tokens; for most of them float32
            [tokens, hidden], in raster order.
        grid: size in patches.
        kept: raster indices of the tokens that are left of a pruned picture, ascending; None where
            all are there.
    """

    features: Any
    grid: Grid
    kept: NDArray[np.int64] | None = None

    @property
    def tokens(self) -> int:
        """Visual tokens, and so KV cells."""
        return self.grid.tokens if self.kept is None else len(self.kept)


@dataclass(frozen=True, slots=True)
class TextSegment:
    """Token ids to append, as they are."""

    ids: tuple[int, ...]

    @property
    def cells(self) -> int:
        return len(self.ids)

    @property
    def advance(self) -> int:
        """By how much the next position moves."""
        return len(self.ids)

    def positions(self, start: int) -> NDArray[np.int64]:
        """int64 [3, cells] positions (t, h, w), the first token at `start`."""
        return text_positions(start, len(self.ids))

    def part(self, start: int, stop: int) -> TextSegment:
        """Cells [start, stop) of this segment."""
        return TextSegment(self.ids[start:stop])


@dataclass(frozen=True, slots=True)
class ImageSegment:
    """An encoded picture to append (without its surrounding vision tokens, which are text)."""

    image: EncodedImage

    @property
    def cells(self) -> int:
        return self.image.tokens

    @property
    def advance(self) -> int:
        """By how much the next position moves."""
        return image_advance(self.image.grid)

    def positions(self, start: int) -> NDArray[np.int64]:
        """int64 [3, cells] positions (t, h, w), the first token at `start`."""
        positions = image_positions(start, self.image.grid)
        return positions if self.image.kept is None else positions[:, self.image.kept]

    def part(self, start: int, stop: int) -> ImagePart:
        """Cells [start, stop) of this segment."""
        return ImagePart(self.image, start, stop)


Segment: TypeAlias = TextSegment | ImageSegment


@dataclass(frozen=True, slots=True)
class ImagePart:
    """Visual tokens [start, stop) of a picture."""

    image: EncodedImage
    start: int
    stop: int

    @property
    def cells(self) -> int:
        return self.stop - self.start

    @property
    def features(self) -> Any:
        """The picture's features of these tokens."""
        if self.cells == self.image.tokens:
            return self.image.features
        return self.image.features[self.start : self.stop]


Part: TypeAlias = TextSegment | ImagePart


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

    def after(self, segments: Sequence[Segment]) -> Mark:
        """The point that is reached from here by appending `segments`."""
        return Mark(
            self.cells + sum(segment.cells for segment in segments),
            self.position + sum(segment.advance for segment in segments),
        )


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What one call of a backend takes.

    Attributes:
        tokens: most tokens; None for any number.
        rows: most rows of logits; None for any number.
        mixed: text and pictures may share a call.
    """

    tokens: int | None = None
    rows: int | None = None
    mixed: bool = True


@dataclass(frozen=True, slots=True)
class Piece:
    """What a backend appends in one call.

    Attributes:
        parts: text and parts of pictures, in order; none is empty.
        positions: int64 [3, cells], (t, h, w) of each token.
        start: KV cell of the first token.
        keep: for how many of the last tokens logits are wanted; 0 in all but the last pieces.
    """

    parts: tuple[Part, ...]
    positions: NDArray[np.int64]
    start: int
    keep: int

    @property
    def cells(self) -> int:
        return int(self.positions.shape[1])

    @property
    def stop(self) -> int:
        """The KV cell after the last token."""
        return self.start + self.cells


def cut(segments: Sequence[Segment], at: Mark, keep: int, limits: CallLimits) -> Iterator[Piece]:
    """Cut an append into calls that a backend takes.

    Args:
        segments: what is appended, none of it empty.
        at: the point it is appended at.
        keep: for how many of the last tokens logits are wanted.
    """
    positions, ends = _positions(segments, at.position)
    total = positions.shape[1]
    first_row = total - keep
    start = 0
    while start < total:
        stop = min(total, start + (limits.tokens or total))
        if limits.rows and stop > first_row:
            # A call returns at most `limits.rows` rows of logits: it ends after that many.
            stop = min(stop, max(start, first_row) + limits.rows)
        if not limits.mixed:
            stop = min(stop, next(end for end in ends if end > start))
        rows = max(0, stop - max(start, first_row))
        parts = tuple(_parts(segments, ends, start, stop))
        yield Piece(parts, positions[:, start:stop], at.cells + start, rows)
        start = stop


def _positions(segments: Sequence[Segment], start: int) -> tuple[NDArray[np.int64], list[int]]:
    """Positions of all tokens, and where each segment ends among them."""
    columns, ends, cells = [], [], 0
    for segment in segments:
        columns.append(segment.positions(start))
        start += segment.advance
        cells += segment.cells
        ends.append(cells)
    return np.concatenate(columns, axis=1), ends


def _parts(
    segments: Sequence[Segment], ends: Sequence[int], start: int, stop: int
) -> Iterator[Part]:
    for segment, end in zip(segments, ends, strict=True):
        begin = end - segment.cells
        left, right = max(start, begin), min(stop, end)
        if left < right:
            yield segment.part(left - begin, right - begin)
