"""The loop for one question: the first view, calls and what is sent for them, then the answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from time import monotonic, perf_counter

from awares_edge.controller.choosing import Choice, Chooser, read_call
from awares_edge.controller.confidence import answer_log_probability, withhold
from awares_edge.controller.decision import Decision, decide
from awares_edge.controller.decoding import TurnDecoder
from awares_edge.controller.generated import Generated, Limits
from awares_edge.controller.options import AskOptions
from awares_edge.controller.plan import plan_question
from awares_edge.controller.policies import (
    CALL_BARRED,
    CONTEXT_OVERFLOW,
    FORCED_CROPS,
    HISTORY,
    Room,
)
from awares_edge.controller.shown import Shown
from awares_edge.controller.speech import Speech
from awares_edge.controller.trace import (
    Answer,
    CropsRequested,
    Event,
    TurnTrace,
    ZoomedCrop,
)
from awares_edge.controller.views import PictureViews
from awares_edge.protocol.answers import extract_answer
from awares_edge.protocol.budget import VisualTokens, pixel_ratio
from awares_edge.protocol.call import Call, Request
from awares_edge.protocol.regions import Region
from awares_edge.runtimes.base import ImageSegment, Logits, Segment, TextSegment

# KV cells that a turn behind a call must leave free for what the model says.
_ANSWER_ROOM = 16


def answer_question(views: PictureViews, question: str, options: AskOptions) -> Iterator[Event]:
    """Answer one question behind what the view's session holds."""
    events = _Question(views, question, options).run()
    least = options.policies.abstain_below
    return events if least is None else withhold(events, least)


class _Question:
    """State of one question on its way through the loop.

    Attributes:
        turns: one trace a turn; the last one is being generated.
        said: text of every complete turn.
        call, call_text: the last call and its text.
        crops: the regions that were sent for this question.
        calls_left: how often the model may still look closer.
        bias: of the decision at the first token; None where there is none.
        decision: that decision, once it is made.
    """

    def __init__(self, views: PictureViews, question: str, options: AskOptions) -> None:
        self.started = perf_counter()
        self.views = views
        self.model = views.model
        self.profile = views.model.protocol
        self.question = question
        self.options = options
        deadline = None if options.timeout is None else monotonic() + options.timeout
        most = options.max_new_tokens or self.profile.limits.max_new_tokens
        self.limits = Limits(most, deadline, options.cancel)
        plan = plan_question(views, options)
        self.view, self.calls_left, self.bias = plan.view, plan.calls, plan.bias
        self.view_tokens = views.tokens(views.size(plan.view))
        self.full_tokens = views.tokens(views.source.size)
        self.policies = list(plan.policies)
        self.turns = [TurnTrace()]
        self.said: list[str] = []
        self.speech = Speech(self.profile)
        self.call, self.call_text = Call("none"), ""
        self.crops: list[ZoomedCrop] = []
        self.decision: Decision | None = None

    def run(self) -> Generator[Event, None, None]:
        logits = self._ask()
        forced = bool(self.options.crops)
        while True:
            decoder = self._decoder(logits)
            if forced:
                reply, forced = self._forced_call(), False
            else:
                reply = yield from self._follow(decoder.run(allow_call=self.calls_left > 0))
                if not self._read_call(reply):
                    break
            choice = self._choose(reply)
            if choice.error:
                segments: list[Segment] = [TextSegment(self.model.prompt.error(self.call.problem))]
                yield from self._next_turn(reply)
            elif choice.regions:
                yield from self._next_turn(reply)
                yield self._requested(choice.regions)
                segments = self._encode(choice.regions)
            else:
                reply = yield from self._follow(decoder.run_without_call())
                break
            logits = self._prefill(self.transcript.behind(reply, segments))
        yield from self._finish(reply)

    def _ask(self) -> Logits:
        """Append the question; logits of what follows it."""
        self.limits.check("")
        trace = self.turns[0]
        self.transcript = self.views.transcript(self.view, trace)
        self.view_tokens = self.transcript.view_tokens
        self.limits.check("")
        segments, dropped = self.transcript.begin(
            self.question, trace, follow_up=self.options.follow_up
        )
        if dropped:
            self.policies.append(f"{HISTORY}:dropped {dropped}")
        progressive = self.options.mode == "progressive"
        self.chooser = Chooser(
            self.views, self.transcript, self.options.policies, progressive=progressive
        )
        self.limits.check("")
        return self._prefill(segments, question=True)

    def _prefill(self, segments: list[Segment], *, question: bool = False) -> Logits:
        trace = self.turns[-1]
        # What `begin` had to compute again was not reused.
        trace.reused_tokens = self.transcript.session.cells - trace.prefill_tokens
        with trace.time("prefill"):
            logits = self.transcript.append(segments, question=question)
        trace.prefill_tokens += sum(segment.cells for segment in segments)
        return logits

    def _decoder(self, logits: Logits) -> TurnDecoder:
        first = len(self.turns) == 1
        if first and self.bias is not None:
            self.decision = decide(logits, self.model.call, self.bias)
        return TurnDecoder(
            self.transcript.session,
            self.model.tokenizer,
            self.model.special,
            self.model.call,
            logits=logits,
            decision=self.decision if first else None,
            limits=self.limits,
            trace=self.turns[-1],
            stop=self.profile.limits.stop,
            constrain=self.options.constrain,
            grammar=self.options.grammar,
        )

    def _follow(self, events: Iterator[str | Generated]) -> Generator[Event, None, Generated]:
        """Pass a turn's text on; what it generated."""
        for event in events:
            if isinstance(event, Generated):
                if event.call_barred:
                    self.policies.append(f"{CALL_BARRED}:turn {len(self.turns)}")
                return event
            yield from self.speech.feed(event)
        raise AssertionError("a turn ends with what it generated")

    def _read_call(self, reply: Generated) -> bool:
        """Whether a reply is a call, which is then counted."""
        if self.calls_left < 1:
            return False
        must_call = self.profile.limits.must_call and not self.crops
        call = read_call(self.model, reply.text, must_call=must_call)
        if call is None:
            return False
        self.call, self.call_text = call, reply.text
        self.calls_left -= 1
        return True

    def _forced_call(self) -> Generated:
        """The caller's call, as if the model had generated it."""
        crops = self.options.crops
        text = self.profile.crop_call(crops)
        self.call, self.call_text = Call("ok", tuple(Request(i) for i in crops)), text
        self.policies.append(f"{FORCED_CROPS}:{','.join(crops)}")
        ids = tuple(self.model.tokenizer.encode(text))
        return Generated(ids, text, uncached=ids)

    def _choose(self, reply: Generated) -> Choice:
        """What to send for the call, within what there is room for."""
        spent = self.view_tokens + sum(crop.tokens for crop in self.crops)
        share = self.options.policies.max_rtr
        budget = float("inf") if share is None else share * self.full_tokens - spent
        session, prompt = self.transcript.session, self.model.prompt
        free = session.context - session.cells - len(reply.uncached) - _ANSWER_ROOM

        def cells_of(kept: Sequence[Region]) -> int:
            pieces = prompt.reply([one.size for one in kept], question=self.question)
            return sum(map(len, pieces)) + sum(map(self._tokens, kept))

        room = Room(budget, free, cells_of)
        choice = self.chooser.choose(self.call, room=room, inner=bool(self.crops))
        self.call = choice.call
        if choice.error and len(prompt.error(self.call.problem)) > free:
            choice = Choice(self.call, policies=(f"{CONTEXT_OVERFLOW}:answer-low",))
        self.policies += choice.policies
        return choice

    def _next_turn(self, reply: Generated) -> Iterator[Event]:
        self.said.append(reply.text)
        self.turns.append(TurnTrace())
        return self.speech.end_turn()

    def _requested(self, regions: Sequence[Shown]) -> CropsRequested:
        turn = len(self.turns) - 2
        crops = tuple(self._describe(one, turn) for one in regions)
        self.crops += crops
        return CropsRequested(crops)

    def _encode(self, regions: Sequence[Shown]) -> list[Segment]:
        """The segments that show regions, from the call's `<|im_end|>` on."""
        first, *others = self.model.prompt.reply(
            [one.region.size for one in regions],
            question=self.question,
            calls=self.transcript.calls(),
        )
        segments: list[Segment] = [TextSegment(first)]
        for one, text in zip(regions, others, strict=True):
            self.limits.check("")
            segments += [ImageSegment(self.views.encode(one, self.turns[-1])), TextSegment(text)]
        self.limits.check("")
        self.transcript.add(regions)
        return segments

    def _finish(self, reply: Generated) -> Iterator[Event]:
        self.said.append(reply.text)
        text = extract_answer(self.profile.answer, self.said)
        yield from self.speech.end_turn(text)
        self.transcript.finish(reply)
        yield self._answer(reply, text)

    def _answer(self, reply: Generated, text: str) -> Answer:
        runtime, crops = self.model.runtime, tuple(self.crops)
        low = self.views.size("low") if self.view == "low" else None
        tokens = sum(crop.tokens for crop in crops)
        reasoning, decision = self.speech.reasoning, self.decision
        likely = answer_log_probability(self.model.tokenizer, reply.ids, reply.scores, text)
        return Answer(
            text=text,
            mode=self.options.mode,
            view=self.view,
            crops=crops,
            call_status=self.call.status,
            call_text=self.call_text,
            visual_tokens=VisualTokens(self.view_tokens, tokens, self.full_tokens),
            pixel_ratio=pixel_ratio(self.views.source.size, low, [crop.size for crop in crops]),
            turns=tuple(self.turns),
            policies=tuple(self.policies),
            finish="stop" if reply.ended or reply.stopped else "length",
            total_ms=(perf_counter() - self.started) * 1e3,
            runtime=runtime.name,
            precision=runtime.precision,
            protocol=self.profile.name,
            reasoning=reasoning,
            reasoning_tokens=len(self.model.tokenizer.encode(reasoning)) if reasoning else 0,
            confidence=self.model.calibration.confidence(likely, text),
            log_probability=likely,
            decision_margin=None if decision is None else decision.margin,
            decision_bias=0.0 if decision is None else decision.bias,
        )

    def _describe(self, shown: Shown, turn: int) -> ZoomedCrop:
        region, box = shown.region, self.views.to_image_box(shown.box)
        tokens = self._tokens(region)
        return ZoomedCrop(region.id, region.name, box, tokens, region.size, turn)

    def _tokens(self, region: Region) -> int:
        return self.views.tokens(region.size)
