"""A conversation in the KV cache of a session on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from awares_edge.controller.confidence import answer_log_probability
from awares_edge.controller.decision import Decision, decide, why_undecided
from awares_edge.controller.decoding import TurnDecoder
from awares_edge.controller.dialogue import Likelihood
from awares_edge.controller.generated import Generated, Limits
from awares_edge.controller.options import AskOptions
from awares_edge.controller.shown import Shown
from awares_edge.controller.trace import TurnTrace, View
from awares_edge.controller.views import PictureViews
from awares_edge.errors import InputError
from awares_edge.protocol.regions import Region
from awares_edge.runtimes.base import ImageSegment, Segment, TextSegment

# KV cells that a turn behind a call must leave free for what the model says.
_ANSWER_ROOM = 16


class CachedDialogue:
    """The conversation about one view of a picture, while one question is answered.

    Satisfies `Dialogue`.

    Attributes:
        decision: the one at the first token, once it is made.
    """

    def __init__(self, views: PictureViews, options: AskOptions, limits: Limits) -> None:
        self._views = views
        self._model = views.model
        self._options = options
        self._limits = limits
        self._question = ""
        self.decision: Decision | None = None

    @property
    def view_tokens(self) -> int:
        return self._transcript.view_tokens

    def shown(self) -> list[Shown]:
        return self._transcript.shown()

    def holds(self, shown: Shown) -> bool:
        return self._transcript.holds(shown)

    def bias(self) -> float | None:
        """The caller's bias, or the bundle's."""
        own = self._options.decision_bias
        if reason := why_undecided(self._model.protocol, self._model.call):
            if own is not None:
                raise InputError(f"{reason}: leave decision_bias out")
            return None
        return self._model.calibration.decision_bias if own is None else own

    def begin(self, view: View, question: str, trace: TurnTrace) -> int:
        self._question = question
        self._limits.check("")
        self._transcript = self._views.transcript(view, trace)
        self._limits.check("")
        segments, dropped = self._transcript.begin(
            question, trace, follow_up=self._options.follow_up
        )
        self._limits.check("")
        self._prefill(segments, trace, question=True)
        return dropped

    def follow(
        self, trace: TurnTrace, *, allow_call: bool, bias: float | None
    ) -> Iterator[str | Generated]:
        if bias is not None:
            self.decision = decide(self._logits, self._model.call, bias)
        self._decoder = self._decode(trace, None if bias is None else self.decision)
        return self._remember(self._decoder.run(allow_call=allow_call))

    def follow_without_call(self) -> Iterator[str | Generated]:
        return self._remember(self._decoder.run_without_call())

    def force(self, text: str, trace: TurnTrace) -> Generated:
        self._decoder = self._decode(trace)
        ids = tuple(self._model.tokenizer.encode(text))
        self._reply = Generated(ids, text, uncached=ids)
        return self._reply

    def free(self) -> int:
        session = self._transcript.session
        return session.context - session.cells - len(self._reply.uncached) - _ANSWER_ROOM

    def cells_of(self, regions: Sequence[Region]) -> int:
        sizes = [one.size for one in regions]
        pieces = self._model.prompt.reply(sizes, question=self._question)
        return sum(map(len, pieces)) + sum(map(self._views.tokens, sizes))

    def cells_of_error(self, problem: str) -> int:
        return len(self._model.prompt.error(problem))

    def show(self, regions: Sequence[Shown], trace: TurnTrace) -> None:
        first, *others = self._model.prompt.reply(
            [one.region.size for one in regions],
            question=self._question,
            calls=self._transcript.calls(),
        )
        segments: list[Segment] = [TextSegment(first)]
        for one, text in zip(regions, others, strict=True):
            segments += [ImageSegment(self._views.encode(one, trace)), TextSegment(text)]
        self._limits.check("")
        self._transcript.add(regions)
        self._prefill(self._transcript.behind(self._reply, segments), trace)

    def send_error(self, problem: str, trace: TurnTrace) -> None:
        segments = [TextSegment(self._model.prompt.error(problem))]
        self._prefill(self._transcript.behind(self._reply, segments), trace)

    def likelihood(self, answer: str) -> Likelihood:
        reply = self._reply
        likely = answer_log_probability(self._model.tokenizer, reply.ids, reply.scores, answer)
        return Likelihood(likely, self._model.calibration.confidence(likely, answer))

    def finish(self) -> None:
        self._transcript.finish(self._reply)

    def count(self, text: str) -> int:
        return len(self._model.tokenizer.encode(text))

    def _remember(self, events: Iterator[str | Generated]) -> Iterator[str | Generated]:
        for event in events:
            if isinstance(event, Generated):
                self._reply = event
            yield event

    def _prefill(
        self, segments: list[Segment], trace: TurnTrace, *, question: bool = False
    ) -> None:
        # What `begin` had to compute again was not reused.
        trace.reused_tokens = self._transcript.session.cells - trace.prefill_tokens
        with trace.time("prefill"):
            self._logits = self._transcript.append(segments, question=question)
        trace.prefill_tokens += sum(segment.cells for segment in segments)

    def _decode(self, trace: TurnTrace, decision: Decision | None = None) -> TurnDecoder:
        return TurnDecoder(
            self._transcript.session,
            self._model.tokenizer,
            self._model.special,
            self._model.call,
            logits=self._logits,
            decision=decision,
            limits=self._limits,
            trace=trace,
            stop=self._model.protocol.limits.stop,
            constrain=self._options.constrain,
            grammar=self._options.grammar,
        )
