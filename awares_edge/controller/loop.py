"""The loop for one question: the first view, calls and the regions sent for them, then the answer.

It decides; a `Dialogue` says and hears. So a model on this machine and one behind an endpoint are
asked by the same code.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from time import perf_counter

from awares_edge.controller.askable import About
from awares_edge.controller.choosing import Choice, Chooser, read_call
from awares_edge.controller.confidence import withhold
from awares_edge.controller.cuts import PictureCuts
from awares_edge.controller.dialogue import Dialogue, ModelReply
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
from awares_edge.protocol.answers import extract_answer
from awares_edge.protocol.budget import VisualTokens, pixel_ratio
from awares_edge.protocol.call import Call, Request


def answer_question(
    cuts: PictureCuts, dialogue: Dialogue, about: About, question: str, options: AskOptions
) -> Iterator[Event]:
    """Answer one question about a picture.

    Args:
        about: what computes, for the answer.
    """
    events = _Question(cuts, dialogue, about, question, options).run()
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
    """

    def __init__(
        self,
        cuts: PictureCuts,
        dialogue: Dialogue,
        about: About,
        question: str,
        options: AskOptions,
    ) -> None:
        self.started = perf_counter()
        self.cuts = cuts
        self.dialogue = dialogue
        self.about = about
        self.profile = cuts.profile
        self.question = question
        self.options = options
        plan = plan_question(cuts, options, dialogue.bias())
        self.view, self.calls_left, self.bias = plan.view, plan.calls, plan.bias
        self.view_tokens = cuts.tokens(cuts.size(plan.view))
        self.full_tokens = cuts.tokens(cuts.source.size)
        self.policies = list(plan.policies)
        self.chooser = Chooser(
            cuts, dialogue, options.policies, progressive=options.mode == "progressive"
        )
        self.turns = [TurnTrace()]
        self.said: list[str] = []
        self.speech = Speech(self.profile)
        self.call, self.call_text = Call("none"), ""
        self.crops: list[ZoomedCrop] = []

    def run(self) -> Generator[Event, None, None]:
        self._ask()
        forced = bool(self.options.crops)
        while True:
            if forced:
                reply, forced = self._forced_call(), False
            else:
                bias = self.bias if len(self.turns) == 1 else None
                events = self.dialogue.follow(
                    self.turns[-1], allow_call=self.calls_left > 0, bias=bias
                )
                reply = yield from self._follow(events)
                if not self._read_call(reply):
                    break
            choice = self._choose()
            if choice.error:
                yield from self._next_turn(reply)
                self.dialogue.send_error(self.call.problem, self.turns[-1])
            elif choice.regions:
                yield from self._next_turn(reply)
                yield self._requested(choice.regions)
                self.dialogue.show(choice.regions, self.turns[-1])
            else:
                reply = yield from self._follow(self.dialogue.follow_without_call())
                break
        yield from self._finish(reply)

    def _ask(self) -> None:
        dropped = self.dialogue.begin(self.view, self.question, self.turns[0])
        self.view_tokens = self.dialogue.view_tokens
        if dropped:
            self.policies.append(f"{HISTORY}:dropped {dropped}")

    def _follow(self, events: Iterator[str | ModelReply]) -> Generator[Event, None, ModelReply]:
        """Pass a turn's text on; the reply."""
        for event in events:
            if not isinstance(event, str):
                if event.call_barred:
                    self.policies.append(f"{CALL_BARRED}:turn {len(self.turns)}")
                return event
            yield from self.speech.feed(event)
        raise AssertionError("a turn ends with its reply")

    def _read_call(self, reply: ModelReply) -> bool:
        """Whether a reply is a call, which is then counted."""
        if self.calls_left < 1:
            return False
        must_call = self.profile.limits.must_call and not self.crops
        call = read_call(self.profile, reply.text, must_call=must_call)
        if call is None:
            return False
        self.call, self.call_text = call, reply.text
        self.calls_left -= 1
        return True

    def _forced_call(self) -> ModelReply:
        """The caller's call, as if the model had generated it."""
        crops = self.options.crops
        text = self.profile.crop_call(crops)
        self.call, self.call_text = Call("ok", tuple(Request(i) for i in crops)), text
        self.policies.append(f"{FORCED_CROPS}:{','.join(crops)}")
        return self.dialogue.force(text, self.turns[-1])

    def _choose(self) -> Choice:
        """What to send for the call, within what there is room for."""
        spent = self.view_tokens + sum(crop.tokens for crop in self.crops)
        share = self.options.policies.max_rtr
        budget = float("inf") if share is None else share * self.full_tokens - spent
        known = self.dialogue.free()
        free = float("inf") if known is None else known
        room = Room(budget, free, self.dialogue.cells_of)
        choice = self.chooser.choose(self.call, room=room, inner=bool(self.crops))
        self.call = choice.call
        if choice.error and self.dialogue.cells_of_error(self.call.problem) > free:
            choice = Choice(self.call, policies=(f"{CONTEXT_OVERFLOW}:answer-low",))
        self.policies += choice.policies
        return choice

    def _next_turn(self, reply: ModelReply) -> Iterator[Event]:
        self.said.append(reply.text)
        self.turns.append(TurnTrace())
        return self.speech.end_turn()

    def _requested(self, regions: Sequence[Shown]) -> CropsRequested:
        turn = len(self.turns) - 2
        crops = tuple(self._describe(one, turn) for one in regions)
        self.crops += crops
        return CropsRequested(crops)

    def _finish(self, reply: ModelReply) -> Iterator[Event]:
        self.said.append(reply.text)
        text = extract_answer(self.profile.answer, self.said)
        yield from self.speech.end_turn(text)
        self.dialogue.finish()
        yield self._answer(reply, text)

    def _answer(self, reply: ModelReply, text: str) -> Answer:
        crops = tuple(self.crops)
        low = self.cuts.size("low") if self.view == "low" else None
        tokens = sum(crop.tokens for crop in crops)
        reasoning, decision = self.speech.reasoning, self.dialogue.decision
        likely = self.dialogue.likelihood(text)
        return Answer(
            text=text,
            mode=self.options.mode,
            view=self.view,
            crops=crops,
            call_status=self.call.status,
            call_text=self.call_text,
            visual_tokens=VisualTokens(self.view_tokens, tokens, self.full_tokens),
            pixel_ratio=pixel_ratio(self.cuts.source.size, low, [crop.size for crop in crops]),
            turns=tuple(self.turns),
            policies=tuple(self.policies),
            finish="stop" if reply.finished else "length",
            total_ms=(perf_counter() - self.started) * 1e3,
            runtime=self.about.runtime,
            precision=self.about.precision,
            protocol=self.profile.name,
            reasoning=reasoning,
            reasoning_tokens=self.dialogue.count(reasoning) if reasoning else 0,
            confidence=None if likely is None else likely.confidence,
            log_probability=None if likely is None else likely.log_probability,
            decision_margin=None if decision is None else decision.margin,
            decision_bias=0.0 if decision is None else decision.bias,
        )

    def _describe(self, shown: Shown, turn: int) -> ZoomedCrop:
        region, box = shown.region, self.cuts.to_image_box(shown.box)
        tokens = self.cuts.tokens(region.size)
        return ZoomedCrop(region.id, region.name, box, tokens, region.size, turn)
