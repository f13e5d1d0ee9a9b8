"""A conversation about one view of a picture, as it grows at the end of its session's cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from awares_edge.controller.decoding import Generated
from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.policies import HISTORY
from awares_edge.controller.shown import Shown
from awares_edge.runtimes.base import (
    EncodedImage,
    ImageSegment,
    Logits,
    Mark,
    Segment,
    Session,
    TextSegment,
)

# KV cells that a follow-up must leave free for regions and its answer.
_ANSWER_ROOM = 64


@dataclass(slots=True)
class Exchange:
    """A question, what was sent for it, and its answer.

    Attributes:
        question: as it was asked.
        segments: what stands behind the question in the cache.
        shown: the regions that were sent.
        pending: last generated tokens that are not in the cache yet.
        ended: whether the answer's end token is in the cache.
    """

    question: str
    segments: list[Segment] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    pending: tuple[int, ...] = ()
    ended: bool = False


class Transcript:
    """The session of one view: the system prompt, the view, and the conversation about it.

    Args:
        session: holds the system prompt.
        image: the encoded view.

    Attributes:
        exchanges: the conversation; the last one is being written while a question is answered.
    """

    def __init__(self, model: LoadedModel, session: Session, image: EncodedImage) -> None:
        self.session = session
        self.exchanges: list[Exchange] = []
        self._model = model
        self._image = image
        self._base = session.mark()
        self._after_view: Mark | None = None
        self._before_question: Mark | None = None

    @property
    def view_tokens(self) -> int:
        """Visual tokens of the view in context."""
        return self._image.tokens

    def shown(self) -> list[Shown]:
        """Every region in context, in the order in which they were sent."""
        return [one for exchange in self.exchanges for one in exchange.shown]

    def holds(self, shown: Shown) -> bool:
        """Whether a region is in context already, at the same size."""
        return any(
            one.box == shown.box and one.region.size == shown.region.size for one in self.shown()
        )

    def begin(self, question: str, *, follow_up: bool) -> tuple[list[Segment], list[str]]:
        """Begin a question: the segments that ask it, and the policies that were applied.

        Args:
            follow_up: whether the conversation so far stays in context. Its oldest exchanges are
                dropped where the question would not fit.
        """
        policies = []
        if not follow_up or self._after_view is None:
            self.rewind()
        elif dropped := self._drop_history(question):
            policies.append(f"{HISTORY}:dropped {dropped}")
        self._before_question = self.session.mark()
        segments = self._asked(question, self.exchanges[-1] if self.exchanges else None)
        self.exchanges.append(Exchange(question))
        return segments, policies

    def append(self, segments: Sequence[Segment], *, question: bool = False) -> Logits:
        """Append segments to the cache; float32 [vocabulary] of what follows.

        Args:
            question: whether they are those of `begin`.
        """
        after_view = self.session.mark_after(segments[:-1])
        logits: Logits = self.session.prefill(segments)[0]
        if question and self._after_view is None:
            self._after_view = self._before_question = after_view
        if not question:
            self.exchanges[-1].segments += segments
        return logits

    def behind(self, reply: Generated, segments: Sequence[Segment]) -> list[Segment]:
        """Segments behind a reply, whose last tokens may not be in the cache yet.

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

    def close(self) -> None:
        """Give the cache's memory back."""
        self.session.close()

    def _asked(self, question: str, before: Exchange | None) -> list[Segment]:
        prompt = self._model.prompt
        if before is not None:
            return [self._text_behind(before, prompt.follow_up(question))]
        view: list[Segment] = []
        if self._after_view is None:
            view = [TextSegment(prompt.open_picture()), ImageSegment(self._image)]
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

    def _drop_history(self, question: str) -> int:
        """Forget the oldest exchanges until the question fits; how many were forgotten."""
        need = _cells(self._asked(question, self.exchanges[-1])) + _ANSWER_ROOM
        kept, used = list(self.exchanges), self.session.cells
        while kept and used + need > self.session.context:
            oldest = kept.pop(0)
            used -= _cells(oldest.segments) + _cells(self._asked(oldest.question, None))
        dropped = len(self.exchanges) - len(kept)
        if dropped:
            self.rewind()
            for exchange in kept:
                before = self.exchanges[-1] if self.exchanges else None
                self.session.prefill([*self._asked(exchange.question, before), *exchange.segments])
                self.exchanges.append(exchange)
        return dropped


def _cells(segments: Sequence[Segment]) -> int:
    return sum(segment.cells for segment in segments)
