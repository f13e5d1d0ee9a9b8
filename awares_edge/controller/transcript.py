"""A conversation about one view of a picture, as it grows at the end of its session's cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from awares_edge.controller.generated import Generated
from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.shown import Shown
from awares_edge.controller.trace import TurnTrace
from awares_edge.errors import SessionError
from awares_edge.runtimes.base import (
    EncodedImage,
    ImageSegment,
    Logits,
    Mark,
    SavedSession,
    Segment,
    Session,
    TextSegment,
)

# KV cells that a follow-up must leave free for its answer.
_ANSWER_ROOM = 64


@dataclass(slots=True)
class Exchange:
    """A question, what was sent for it, and its answer.

    Attributes:
        question: as it was asked.
        segments: what stands behind the question in the cache.
        shown: the regions that were sent.
        calls: how many calls were made, including those that could not be followed.
        pending: last generated tokens that are not in the cache yet.
        ended: whether the answer's end token is in the cache.
    """

    question: str
    segments: list[Segment] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    calls: int = 0
    pending: tuple[int, ...] = ()
    ended: bool = False


class Transcript:
    """The session of one view: the system prompt, the view, and the conversation about it.

    Args:
        session: holds the system prompt.
        image: the encoded view.

    Attributes:
        image: the view; of a restored one there are no features.
        exchanges: the conversation; the last one is being written while a question is answered.
    """

    def __init__(self, model: LoadedModel, session: Session, image: EncodedImage) -> None:
        self.session = session
        self.image = image
        self.exchanges: list[Exchange] = []
        self._model = model
        self._base = session.mark()
        self._after_view: Mark | None = None
        self._before_question: Mark | None = None

    @classmethod
    def restored(cls, model: LoadedModel, saved: SavedSession, image: EncodedImage) -> Transcript:
        """The transcript that `save` was called on, without its conversation.

        Args:
            image: the view; only its size is needed.

        Raises:
            SessionError: it was saved behind another prompt or view, or by another model.
        """
        text = TextSegment(model.prompt.system() + model.prompt.open_picture())
        if saved.mark != Mark(0, 0).after([text, ImageSegment(image)]):
            raise SessionError("the saved view is of another picture or prompt: compute it anew")
        transcript = cls(model, model.restore_session(saved), image)
        transcript._after_view = saved.mark
        return transcript

    @property
    def view_tokens(self) -> int:
        """Visual tokens of the view in context."""
        return self.image.tokens

    def shown(self) -> list[Shown]:
        """Every region in context, in the order in which they were sent."""
        return [one for exchange in self.exchanges for one in exchange.shown]

    def calls(self) -> int:
        """How many calls were made in the conversation."""
        return sum(exchange.calls for exchange in self.exchanges)

    def holds(self, shown: Shown) -> bool:
        """Whether a region is in context already, at the same size."""
        return any(
            one.box == shown.box and one.region.size == shown.region.size for one in self.shown()
        )

    def begin(
        self, question: str, trace: TurnTrace, *, follow_up: bool
    ) -> tuple[list[Segment], int]:
        """Begin a question: the segments that ask it, and how many exchanges were dropped.

        Args:
            trace: where tokens and time are counted if exchanges have to be computed again.
            follow_up: whether the conversation so far stays in context. Its oldest exchanges are
                dropped where the question would not fit.
        """
        dropped = 0
        if not follow_up or self._after_view is None:
            self.rewind()
        elif self.exchanges:
            dropped = self._drop_history(question, trace)
        segments = self._asked(question, self.exchanges[-1] if self.exchanges else None)
        self._before_question = self.session.mark()
        self.exchanges.append(Exchange(question))
        return segments, dropped

    def append(self, segments: Sequence[Segment], *, question: bool = False) -> Logits:
        """Append segments to the cache; float32 [vocabulary] of what follows.

        Args:
            question: whether they are those of `begin`; else they follow a call.
        """
        after_view = self.session.mark_after(segments[:-1])
        logits: Logits = self.session.prefill(segments)[0]
        if question and self._after_view is None:
            self._after_view = self._before_question = after_view
        if not question:
            self.exchanges[-1].segments += segments
            self.exchanges[-1].calls += 1
        return logits

    def behind(self, reply: Generated, segments: Sequence[Segment]) -> list[Segment]:
        """Segments after a reply, whose last tokens may not be in the cache yet.

        Args:
            segments: from the reply's `<|im_end|>` on; the first is text.
        """
        self._record(reply)
        first, *others = segments
        assert isinstance(first, TextSegment)
        return [self._text_behind(self.exchanges[-1], first.ids), *others]

    def add(self, shown: Sequence[Shown]) -> None:
        """Remember regions that are about to be sent."""
        self.exchanges[-1].shown += shown

    def finish(self, reply: Generated) -> None:
        """Keep the answer: a follow-up begins behind it."""
        self._record(reply)
        self._before_question = None

    def abandon(self) -> None:
        """Forget a question that was not answered to its end."""
        if self._before_question is not None:
            self.session.rewind(self._before_question)
            self._before_question = None
            del self.exchanges[-1:]

    def rewind(self) -> None:
        """Forget the conversation."""
        self.session.rewind(self._after_view or self._base)
        self.exchanges.clear()
        self._before_question = None

    def save(self) -> SavedSession | None:
        """The cache up to the view; None where the view is not in it. Forgets the conversation."""
        self.rewind()
        return None if self._after_view is None else self.session.save()

    def close(self) -> None:
        """Give the cache's memory back."""
        self.session.close()

    def _asked(self, question: str, before: Exchange | None) -> list[Segment]:
        prompt = self._model.prompt
        if before is not None:
            return [self._text_behind(before, prompt.follow_up(question))]
        view: list[Segment] = []
        if self._after_view is None:
            view = [TextSegment(prompt.open_picture()), ImageSegment(self.image)]
        return [*view, TextSegment(prompt.ask(question))]

    def _record(self, reply: Generated) -> None:
        exchange = self.exchanges[-1]
        cached = reply.ids[: len(reply.ids) - len(reply.uncached)]
        if reply.end_cached:
            cached = (*cached, self._model.special.im_end)
        if cached:
            exchange.segments.append(TextSegment(cached))
        exchange.pending, exchange.ended = reply.uncached, reply.end_cached

    def _text_behind(self, exchange: Exchange, text: tuple[int, ...]) -> TextSegment:
        """Text that begins with `<|im_end|>`, behind what an exchange left in the cache."""
        return TextSegment((*exchange.pending, *text[1 if exchange.ended else 0 :]))

    def _drop_history(self, question: str, trace: TurnTrace) -> int:
        """Forget the oldest exchanges until the question fits; how many were forgotten."""
        room = self.session.context - self._cells_with([], question)
        if room < 0:
            return 0  # It does not even fit alone, and will be refused: keep the conversation.
        # Room for a region as large as the view is kept free too, if there is any.
        spare = _ANSWER_ROOM + self.image.grid.tokens
        spare = spare if spare <= room else _ANSWER_ROOM
        kept = list(self.exchanges)
        while kept and self._cells_with(kept, question) + spare > self.session.context:
            del kept[0]
        gone = self.exchanges[: len(self.exchanges) - len(kept)]
        if self._model.protocol.region.references == "names" and any(e.shown for e in gone):
            # Kept calls refer to regions by number, and the numbers would now mean others.
            gone, kept = list(self.exchanges), []
        if gone:
            self.rewind()
            for exchange in kept:
                self._replay(exchange, trace)
        return len(gone)

    def _cells_with(self, exchanges: Sequence[Exchange], question: str) -> int:
        """KV cells in use once a question is asked behind these exchanges."""
        assert self._after_view is not None
        cells, before = self._after_view.cells, None
        for exchange in exchanges:
            cells += _cells(self._asked(exchange.question, before)) + _cells(exchange.segments)
            before = exchange
        return cells + _cells(self._asked(question, before))

    def _replay(self, exchange: Exchange, trace: TurnTrace) -> None:
        """Compute an exchange again behind what is in the cache."""
        before = self.exchanges[-1] if self.exchanges else None
        segments = [*self._asked(exchange.question, before), *exchange.segments]
        with trace.time("prefill"):
            self.session.prefill(segments)
        trace.prefill_tokens += _cells(segments)
        self.exchanges.append(exchange)


def _cells(segments: Sequence[Segment]) -> int:
    return sum(segment.cells for segment in segments)
