"""The loop for one question: the first view, calls and their regions, then the answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from time import monotonic, perf_counter

from awares_edge.controller.confidence import answer_log_probability, withhold
from awares_edge.controller.decision import Decision, decide
from awares_edge.controller.decoding import Generated, Limits, TurnDecoder
from awares_edge.controller.options import AskOptions
from awares_edge.controller.policies import (
    ALREADY_SHOWN,
    CALL_BARRED,
    FORCED_CROPS,
    INVALID_CALL,
    NARROW_VIEW,
    SMALL_IMAGE,
    Selection,
    select_crops,
)
from awares_edge.controller.shown import Shown
from awares_edge.controller.speech import Speech
from awares_edge.controller.trace import (
    Answer,
    CropsRequested,
    Event,
    TurnTrace,
    View,
    ZoomedCrop,
)
from awares_edge.controller.views import PictureViews
from awares_edge.protocol.answers import extract_answer
from awares_edge.protocol.budget import VisualTokens, pixel_ratio
from awares_edge.protocol.call import Call, Request
from awares_edge.protocol.regions import Region, RegionError, locate
from awares_edge.runtimes.base import ImageSegment, Logits, Segment, TextSegment

# KV cells that a turn with regions must leave free for its answer.
_ANSWER_ROOM = 16
# Calls of one question in mode "progressive", where nobody says otherwise.
_PROGRESSIVE_CALLS = 3


def answer_question(views: PictureViews, question: str, options: AskOptions) -> Iterator[Event]:
    """Answer one question behind what the view's session holds."""
    events = _Question(views, question, options).run()
    least = options.policies.abstain_below
    return events if least is None else withhold(events, least)


class _Question:
    """State of one question on its way through the loop.

    Attributes:
        turns: one trace a turn; the last one is being generated.
        said: text of every turn so far.
        call, call_text: the last call and its text.
        sent: the regions that were sent for this question, each with its turn.
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
        self.turns = [TurnTrace()]
        self.policies: list[str] = []
        self.said: list[str] = []
        self.speech = Speech(self.profile)
        self.call, self.call_text = Call("none"), ""
        self.sent: list[tuple[Shown, int]] = []
        self.decision: Decision | None = None
        self.full_tokens = views.tokens(views.source.size)
        self.low_size = views.size("low")
        self.view = self._first_view()
        self.view_tokens = views.tokens(views.size(self.view))
        self.calls_left = self._most_calls()

    def _first_view(self) -> View:
        if self.options.mode == "full":
            return "full"
        if not self.views.fits(self.low_size):
            self.policies.append(f"{NARROW_VIEW}:full")
            return "full"
        looks_twice = self.profile.first_view.rule != "whole"
        free = self.options.mode not in ("low", "full") and not self.options.crops
        if looks_twice and free and self.views.tokens(self.low_size) >= self.full_tokens:
            # The low-res view would cost as much as the whole picture.
            self.policies.append(f"{SMALL_IMAGE}:full")
            return "full"
        return "low"

    def _most_calls(self) -> int:
        if self.options.mode in ("full", "low") or self.view == "full":
            return 0
        own = self.profile.limits.max_calls
        if self.options.mode == "progressive":
            own = max(own, _PROGRESSIVE_CALLS)
        return own if self.options.max_calls is None else self.options.max_calls

    def run(self) -> Generator[Event, None, None]:
        self.limits.check("")
        self.transcript = self.views.transcript(self.view, self.turns[0])
        self.limits.check("")
        follow_up = self.options.follow_up
        asked, policies = self.transcript.begin(self.question, follow_up=follow_up)
        self.policies += policies
        logits = self._prefill(asked, question=True)
        forced = bool(self.options.crops)
        while True:
            decoder = self._decoder(logits)
            if forced:
                reply, forced = self._forced_call(), False
                self.calls_left = 0
            else:
                reply = yield from self._follow(decoder.run(allow_call=self.calls_left > 0))
                if not self._read_call(reply):
                    break
                self.calls_left -= 1
            selection = self._regions()
            if selection is None and (message := self._error_reply()):
                logits = self._continue([TextSegment(message)], reply)
                continue
            if selection is None or not selection.crops:
                reply = yield from self._follow(decoder.run_without_call())
                break
            shown = self._show(selection.crops)
            if all(self.transcript.holds(one) for one in shown):
                self.policies.append(f"{ALREADY_SHOWN}:answer")
                reply = yield from self._follow(decoder.run_without_call())
                break
            self.said.append(reply.text)
            yield from self._speak("", last=True)
            self.turns.append(TurnTrace())
            self.sent += [(one, len(self.turns) - 2) for one in shown]
            yield CropsRequested(
                tuple(self._describe(one, turn) for one, turn in self.sent[-len(shown) :])
            )
            logits = self._send(reply, shown)
        self.said.append(reply.text)
        yield from self._speak("", last=True)
        self.transcript.finish(reply)
        yield self._answer(reply)

    def _decoder(self, logits: Logits) -> TurnDecoder:
        if len(self.turns) == 1 and self.calls_left > 0 and not self.options.crops:
            bias = self.options.decision_bias
            bias = self.model.calibration.decision_bias if bias is None else bias
            logits, self.decision = decide(logits, self.model.call, bias)
        return TurnDecoder(
            self.transcript.session,
            self.model.tokenizer,
            self.model.special,
            self.model.call,
            logits=logits,
            limits=self.limits,
            trace=self.turns[-1],
            stop=self.profile.limits.stop,
            constrain=self.options.constrain,
        )

    def _follow(self, events: Iterator[str | Generated]) -> Generator[Event, None, Generated]:
        """Pass a turn's text on; what it generated."""
        for event in events:
            if isinstance(event, Generated):
                if event.call_barred:
                    self.policies.append(f"{CALL_BARRED}:turn {len(self.turns)}")
                return event
            yield from self._speak(event)
        raise AssertionError("a turn ends with what it generated")

    def _speak(self, text: str, *, last: bool = False) -> Iterator[Event]:
        return self.speech.feed(text, last=last)

    def _read_call(self, reply: Generated) -> bool:
        """Whether a reply is a call, or what has to be treated as one."""
        if self.calls_left <= 0:
            return False
        call = self.model.call.syntax.parse(reply.text)
        if call.status == "none":
            if self.profile.limits.must_call and not self.sent:
                call = Call("none", (Request(),))
            elif self.model.call.syntax.call_start(reply.text) is not None:
                call = Call("invalid", problem="the call is not complete")
            else:
                return False
        self.call, self.call_text = call, reply.text
        return True

    def _regions(self) -> Selection | None:
        """What to send for the call; None where it cannot be followed."""
        pictures = [self.views.source.size, *(one.image.size for one in self.transcript.shown())]
        if self.profile.region.nested == "sent":
            pictures[1:] = [one.region.size for one in self.transcript.shown()]
        # In mode "progressive" the crop set applies to the crop that was sent last.
        inner = self.options.mode == "progressive" and bool(self.sent)
        within = len(pictures) - 1 if inner else 0
        view = self.views.size("low")
        try:
            regions = [
                locate(self.profile, request, pictures, view, within=within)
                for request in self.call.requests
            ]
        except RegionError as error:
            self.call = Call("invalid", problem=str(error))
            regions = []
            if self.profile.limits.must_call:
                regions = [locate(self.profile, Request(), pictures, view)]
        if not regions and self._answers_errors():
            return None
        return self._select(regions)

    def _answers_errors(self) -> bool:
        own = self.profile.tool.syntax != "crops"
        return own and self.options.policies.invalid_call == "protocol"

    def _error_reply(self) -> tuple[int, ...]:
        self.policies.append(f"{INVALID_CALL}:error")
        return self.model.prompt.error(self.call.problem)

    def _continue(self, segments: list[Segment], reply: Generated) -> Logits:
        """Append what follows a reply, and begin another turn."""
        self.said.append(reply.text)
        self.turns.append(TurnTrace())
        return self._prefill(self.transcript.behind(reply, segments))

    def _show(self, regions: Sequence[Region]) -> list[Shown]:
        shown = [self.views.show(region, self.transcript.shown()) for region in regions]
        # Crops of a picture too small to cut are all the whole picture: send it once.
        by_box: dict[object, Shown] = {}
        for one in shown:
            by_box.setdefault(one.box, one)
        return list(by_box.values())

    def _send(self, reply: Generated, shown: Sequence[Shown]) -> Logits:
        """Append regions behind the call, exactly as it was generated; logits after them."""
        trace, segments = self.turns[-1], list[Segment]()
        first, *others = self.model.prompt.reply(
            [one.region.size for one in shown],
            question=self.question,
            calls=len(self.turns) - 2,
        )
        segments.append(TextSegment(first))
        for one, text in zip(shown, others, strict=True):
            self.limits.check("")
            segments += [ImageSegment(self.views.encode(one, trace)), TextSegment(text)]
        self.limits.check("")
        self.transcript.add(shown)
        return self._prefill(self.transcript.behind(reply, segments))

    def _prefill(self, segments: list[Segment], *, question: bool = False) -> Logits:
        trace = self.turns[-1]
        trace.reused_tokens = self.transcript.session.cells
        with trace.time("prefill"):
            logits = self.transcript.append(segments, question=question)
        trace.prefill_tokens = sum(segment.cells for segment in segments)
        return logits

    def _forced_call(self) -> Generated:
        """The caller's call, as if the model had generated it."""
        text = self.profile.crop_call(self.options.crops)
        self.call = Call("ok", tuple(Request(i) for i in self.options.crops))
        self.call_text = text
        self.policies.append(f"{FORCED_CROPS}:{','.join(self.options.crops)}")
        ids = tuple(self.model.tokenizer.encode(text))
        return Generated(ids, text, uncached=ids)

    def _select(self, regions: Sequence[Region]) -> Selection:
        """The regions to send for a call, after all policies."""
        views, policies = self.views, self.options.policies
        budget = float("inf")
        if policies.max_rtr is not None:
            spent = self.view_tokens + sum(self._tokens(one.region) for one, _ in self.sent)
            budget = policies.max_rtr * self.full_tokens - spent

        def cells_of(kept: Sequence[Region]) -> int:
            pieces = self.model.prompt.reply([one.size for one in kept], question=self.question)
            return sum(map(len, pieces)) + sum(map(self._tokens, kept)) + _ANSWER_ROOM

        session = self.transcript.session
        size = views.source.size
        selection = select_crops(
            regions,
            policies,
            whole=Region((0, 0, *size), size, 0, "all" if self.profile.tool.crops else ""),
            fits=lambda region: views.fits(region.size),
            budget=budget,
            tokens_of=self._tokens,
            cells_of=cells_of,
            room=session.context - session.cells,
        )
        self.policies += selection.applied
        return selection

    def _tokens(self, region: Region) -> int:
        return self.views.tokens(region.size)

    def _describe(self, shown: Shown, turn: int) -> ZoomedCrop:
        region, box = shown.region, self.views.to_image_box(shown.box)
        tokens = self._tokens(region)
        return ZoomedCrop(region.id, region.name, box, tokens, region.size, turn)

    def _answer(self, reply: Generated) -> Answer:
        runtime, profile = self.model.runtime, self.profile
        low = self.low_size if self.view == "low" else None
        sent = [one.region for one, _ in self.sent]
        text = extract_answer(profile.answer, self.said)
        likely = answer_log_probability(self.model.tokenizer, reply.ids, reply.scores, text)
        decision = self.decision
        return Answer(
            text=text,
            mode=self.options.mode,
            view=self.view,
            crops=tuple(self._describe(one, turn) for one, turn in self.sent),
            call_status=self.call.status,
            call_text=self.call_text,
            visual_tokens=VisualTokens(
                self.view_tokens, sum(map(self._tokens, sent)), self.full_tokens
            ),
            pixel_ratio=pixel_ratio(self.views.source.size, low, [one.size for one in sent]),
            turns=tuple(self.turns),
            policies=tuple(self.policies),
            finish="stop" if reply.ended or reply.stopped else "length",
            total_ms=(perf_counter() - self.started) * 1e3,
            runtime=runtime.name,
            precision=runtime.precision,
            protocol=profile.name,
            reasoning=self.speech.reasoning,
            confidence=self.model.calibration.confidence(likely, text),
            log_probability=likely,
            decision_margin=None if decision is None else decision.margin,
            decision_bias=0.0 if decision is None else decision.bias,
        )
