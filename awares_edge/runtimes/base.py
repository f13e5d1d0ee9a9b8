"""The narrow seam between the controller and what computes: `Runtime` and `Session`.

A `Runtime` is a loaded model: it encodes pictures and opens sessions. A `Session` is one KV cache
that only grows at its end and can be cut back: prefill, decode, mark, rewind, fork. Checks,
positions and the cutting of long prompts are done here, once; a backend implements the private
hooks and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import ContextOverflow, InputError, SessionError
from awares_edge.runtimes.options import choose_context
from awares_edge.runtimes.saved import SavedSession
from awares_edge.runtimes.segments import (
    CallLimits,
    EncodedImage,
    ImagePart,
    ImageSegment,
    Mark,
    Piece,
    Segment,
    TextSegment,
    cut,
)
from awares_edge.vision.patches import Patches

__all__ = [
    "CallLimits",
    "EncodedImage",
    "ImagePart",
    "ImageSegment",
    "Logits",
    "Mark",
    "Piece",
    "Runtime",
    "SavedSession",
    "Segment",
    "Session",
    "TextSegment",
]

Logits: TypeAlias = NDArray[np.float32]


class Session(ABC):
    """One KV cache. Not thread-safe: one session belongs to one thread at a time.

    Attributes:
        context: KV cells this session can hold.
        vocabulary: length of a row of logits; token ids are below it.
        limits: what one call of the backend takes.
    """

    limits: CallLimits = CallLimits()

    def __init__(self, context: int, vocabulary: int, mark: Mark | None = None) -> None:
        self.context = context
        self.vocabulary = vocabulary
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
            SessionError: the session is closed, nothing was given, or a token id is outside the
                vocabulary; the session is unchanged.
        """
        self._require_open()
        segments = [segment for segment in segments if segment.cells]
        after = self._mark.after(segments)
        count = after.cells - self.cells
        if not 1 <= keep_logits <= count:
            raise SessionError(f"cannot give logits of {keep_logits} of {count} appended tokens")
        if after.cells > self.context:
            raise ContextOverflow(
                f"{self.cells} + {count} tokens exceed the context of {self.context}: use a "
                "smaller picture, fewer crops, or a larger context"
            )
        self._check_ids(segments)
        try:
            rows = [
                self._forward(piece)
                for piece in cut(segments, self._mark, keep_logits, self.limits)
            ]
        except BaseException:
            self._truncate(self.cells)
            raise
        self._mark = after
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def decode(self, token: int) -> Logits:
        """Append one token; float32 [vocabulary] logits of what follows it."""
        row: Logits = self.prefill([TextSegment((token,))])[0]
        return row

    def mark(self) -> Mark:
        """This point, to `rewind` to."""
        return self._mark

    def mark_after(self, segments: Sequence[Segment]) -> Mark:
        """The point that would be reached by appending `segments` now."""
        return self._mark.after(segments)

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
        """A new session that starts as a copy of this one; the two are then independent."""
        self._require_open()
        return self._fork()

    def save(self) -> SavedSession:
        """Copy the cells in use to the host, for `Runtime.restore`.

        Raises:
            SessionError: the session is closed, or the runtime cannot save sessions.
        """
        self._require_open()
        return SavedSession(self._mark, self._save() if self.cells else {})

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

    def _check_ids(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            if not isinstance(segment, TextSegment):
                continue
            low, high = min(segment.ids), max(segment.ids)
            if low < 0 or high >= self.vocabulary:
                raise SessionError(
                    f"token ids must be between 0 and {self.vocabulary - 1}, "
                    f"not {low if low < 0 else high}: use this model's own tokenizer"
                )

    # What a backend implements.

    @abstractmethod
    def _forward(self, piece: Piece) -> Logits:
        """Append one piece, which respects `limits`; float32 [piece.keep, vocabulary].

        A prompt of several pieces is a series of calls. Where one fails, `_truncate` follows.
        """

    @abstractmethod
    def _truncate(self, cells: int) -> None:
        """Keep the first `cells` cells only."""

    @abstractmethod
    def _fork(self) -> Session:
        """A session that starts with a copy of this one's `self.cells` cells."""

    def _save(self) -> dict[str, NDArray[Any]]:
        """Copies of the cells in use, at least one; only where `Runtime.saving` is set."""
        raise SessionError("this runtime cannot save sessions")

    @abstractmethod
    def _close(self) -> None:
        """Give the cache's memory back; called once."""


class Runtime(ABC):
    """A loaded model. Safe to share between threads.

    Attributes:
        name: the name in the registry.
        precision: of the weights, as the bundle names it.
        device: where it computes, for people ("cpu", "cuda:0", ...).
        vocabulary: length of a row of logits.
        context: most KV cells a session may have.
        saving: library and version that made the cells of a saved session, which only the same
            ones restore; empty where sessions cannot be saved.
        hidden: numbers of a row of `EncodedImage.features`, where these are float32 arrays on the
            host; None where they are something else.
    """

    name: ClassVar[str]
    precision: str
    device: str
    vocabulary: int
    context: int
    saving: str = ""
    hidden: int | None = None

    @abstractmethod
    def encode_image(self, patches: Patches) -> EncodedImage:
        """Run the vision tower on one picture."""

    def open_session(self, context: int | None = None) -> Session:
        """A session with an empty cache.

        Args:
            context: KV cells it can hold; None for the runtime's own limit.

        Raises:
            InputError: the context is out of range.
        """
        return self._open(choose_context(context, self.context))

    def restore(self, saved: SavedSession, context: int | None = None) -> Session:
        """A session that goes on from a saved one.

        Args:
            saved: from a session of the same model in the same runtime (`saving`).
            context: KV cells it can hold; None for the runtime's own limit.

        Raises:
            ContextOverflow: it does not fit.
            InputError: the context is out of range.
            SessionError: it is of another model, or the runtime cannot restore sessions.
        """
        size = choose_context(context, self.context)
        if saved.mark.cells > size:
            raise ContextOverflow(
                f"a saved session of {saved.mark.cells} tokens exceeds the context of {size}: use "
                "a larger one"
            )
        return self._restore(saved, size) if saved.mark.cells else self._open(size)

    def pruned(self, share: float) -> Runtime:
        """The same model, which keeps this share of each picture's visual tokens (a baseline).

        Raises:
            InputError: this runtime cannot prune, or the share is not above 0 and at most 1.
        """
        raise InputError(
            f"the runtime {self.name} cannot keep a share of {share:g}: pruning visual tokens "
            "needs the torch runtime"
        )

    @abstractmethod
    def close(self) -> None:
        """Give the model's memory back. Its sessions must not be used any more."""

    @abstractmethod
    def _open(self, context: int) -> Session:
        """A session with an empty cache of `context` cells."""

    def _restore(self, saved: SavedSession, context: int) -> Session:  # noqa: ARG002
        """A session that begins with saved cells, at least one, which fit into `context`."""
        raise SessionError(f"the runtime {self.name} cannot restore sessions")

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
