"""The AwaRes loop for one question: the first view, calls and their crops, then the answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from time import monotonic, perf_counter

from awares_edge.controller.decoding import Generated, Limits, TurnDecoder
from awares_edge.controller.options import AskOptions
from awares_edge.controller.policies import (
    CALL_BARRED,
    FORCED_CROPS,
    NARROW_VIEW,
    SMALL_IMAGE,
    select_crops,
)
from awares_edge.controller.trace import (
    Answer,
    CropsRequested,
    Event,
    TextDelta,
    TurnTrace,
    View,
    ZoomedCrop,
)
from awares_edge.controller.views import PictureViews, ViewState
from awares_edge.errors import InputError
from awares_edge.protocol.budget import VisualTokens, pixel_ratio
from awares_edge.protocol.call import CropCall
from awares_edge.protocol.crops import WHOLE, Crop
from awares_edge.runtimes.base import ImageSegment, Logits, Segment, TextSegment

# AwaRes models are trained on one call a question.
_MAX_CALLS = 1
# KV cells that a turn with crops must leave free for its answer.
_ANSWER_ROOM = 16


def answer_question(
    views: PictureViews, asked: tuple[int, ...], options: AskOptions
) -> Iterator[Event]:
    """Answer one question from the picture's kept state; the caller rewinds its sessions after.

    Args:
        asked: tokens of the question, from `PromptBuilder.ask`.
    """
    return _Question(views, asked, options).run()


class _Question:
    """State of one question on its way through the loop.

    Attributes:
        turns: one trace a turn; the last one is being generated.
        call, call_text: the last call and its text.
        sent: crops that were sent so far.
    """

    def __init__(self, views: PictureViews, asked: tuple[int, ...], options: AskOptions) -> None:
        self.started = perf_counter()
        self.views = views
        self.model = views.model
        self.asked = asked
        self.options = options
        deadline = None if options.timeout is None else monotonic() + options.timeout
        self.limits = Limits(options.max_new_tokens, deadline, options.cancel)
        self.turns = [TurnTrace()]
        self.policies: list[str] = []
        self.call, self.call_text = CropCall("none"), ""
        self.sent: list[Crop] = []
        self.full_tokens = views.tokens(views.source.size)
        self.low_size = self.model.protocol.low_res_size(views.source.size)
        self.view = self._first_view()
        low = self.view == "low"
        self.view_tokens = views.tokens(self.low_size) if low else self.full_tokens

    def _first_view(self) -> View:
        if self.options.mode == "full":
            return "full"
        if not self.views.fits(self.low_size):
            self.policies.append(f"{NARROW_VIEW}:full")
            return "full"
        free = self.options.mode == "awares" and not self.options.crops
        if free and self.views.tokens(self.low_size) >= self.full_tokens:
            # The low-res view would cost as much as the whole picture.
            self.policies.append(f"{SMALL_IMAGE}:full")
            return "full"
        return "low"

    def run(self) -> Generator[Event, None, None]:
        self.limits.check("")
        state = self.views.view(self.view, self.turns[0])
        self.limits.check("")
        logits = self._prefill_question(state)
        forced = bool(self.options.crops)
        may_call = self.options.mode == "awares" and self.view == "low"
        while True:
            decoder = self._decoder(state, logits)
            if forced:
                reply = self._forced_call()
                forced = may_call = False
            else:
                allow_call = may_call and len(self.turns) <= _MAX_CALLS
                reply = yield from self._follow(decoder.run(allow_call=allow_call))
                call = self.model.call.format.parse(reply.text) if allow_call else None
                if call is None or call.status == "none":
                    break
                self.call, self.call_text = call, reply.text
            crops = self._select(self.call, state)
            if not crops:
                reply = yield from self._follow(decoder.run_without_call())
                break
            self.turns.append(TurnTrace())
            self.sent += crops
            yield CropsRequested(tuple(map(self._describe, crops)))
            logits = self._prefill_crops(state, reply, crops)
        yield self._answer(reply)

    def _decoder(self, state: ViewState, logits: Logits) -> TurnDecoder:
        return TurnDecoder(
            state.session,
            self.model.tokenizer,
            self.model.special,
            self.model.call,
            logits=logits,
            limits=self.limits,
            trace=self.turns[-1],
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
            yield TextDelta(event)
        raise AssertionError("a turn ends with what it generated")

    def _prefill_question(self, state: ViewState) -> Logits:
        """Append what the cache lacks of picture and question; logits after it."""
        session = state.session
        view: list[Segment] = []
        if state.mark is None:
            view = [TextSegment(self.model.prompt.open_picture()), ImageSegment(state.image)]
        after_view = session.mark_after(view)
        logits = self._prefill([*view, TextSegment(self.asked)], state)
        state.mark = after_view
        return logits

    def _prefill_crops(
        self, state: ViewState, generated: Generated, crops: Sequence[Crop]
    ) -> Logits:
        """Append the crops behind the call, exactly as it was generated; logits after them."""
        trace, prompt = self.turns[-1], self.model.prompt
        opening = prompt.open_crops()[1:] if generated.end_cached else prompt.open_crops()
        segments: list[Segment] = []
        text = (*generated.uncached, *opening)
        for crop in crops:
            self.limits.check("")
            segments += [TextSegment(text), ImageSegment(self.views.encode_crop(crop, trace))]
            text = prompt.next_crop()
        self.limits.check("")
        return self._prefill([*segments, TextSegment(prompt.close_crops())], state)

    def _prefill(self, segments: list[Segment], state: ViewState) -> Logits:
        trace = self.turns[-1]
        trace.reused_tokens = state.session.cells
        with trace.time("prefill"):
            logits: Logits = state.session.prefill(segments)[0]
        trace.prefill_tokens = sum(segment.cells for segment in segments)
        return logits

    def _forced_call(self) -> Generated:
        """The caller's call, as if the model had generated it."""
        try:
            text = self.model.call.format.render(self.options.crops)
        except ValueError as error:
            offered = ", ".join(self.model.protocol.crop_ids)
            raise InputError(f"{error}: choose from {offered}") from error
        self.call, self.call_text = CropCall("ok", self.options.crops), text
        self.policies.append(f"{FORCED_CROPS}:{','.join(self.options.crops)}")
        ids = tuple(self.model.tokenizer.encode(text))
        return Generated(ids, text, uncached=ids)

    def _select(self, call: CropCall, state: ViewState) -> list[Crop]:
        """The crops to send for a call; none where it is to be answered without."""
        views, prompt, policies = self.views, self.model.prompt, self.options.policies
        text = len(prompt.open_crops()) + len(prompt.close_crops()) + _ANSWER_ROOM
        budget = float("inf")
        if policies.max_rtr is not None:
            spent = self.view_tokens + sum(map(self._tokens, self.sent))
            budget = policies.max_rtr * self.full_tokens - spent

        def cells_of(crops: Sequence[Crop]) -> int:
            between = len(prompt.next_crop()) * (len(crops) - 1)
            return text + between + sum(map(self._tokens, crops))

        selection = select_crops(
            [self.model.protocol.crop(crop_id, views.source.size) for crop_id in call.ids],
            policies,
            whole=self.model.protocol.crop(WHOLE, views.source.size),
            fits=lambda crop: views.fits(crop.size),
            budget=budget,
            tokens_of=self._tokens,
            cells_of=cells_of,
            room=state.session.context - state.session.cells,
        )
        self.policies += selection.applied
        # Crops of a picture too small to cut are all the whole picture: send it once.
        by_box: dict[object, Crop] = {}
        for crop in selection.crops:
            by_box.setdefault(crop.box, crop)
        return list(by_box.values())

    def _tokens(self, crop: Crop) -> int:
        return self.views.tokens(crop.size)

    def _describe(self, crop: Crop) -> ZoomedCrop:
        box = self.views.to_image_box(crop.box)
        return ZoomedCrop(crop.id, crop.name, box, self._tokens(crop))

    def _answer(self, generated: Generated) -> Answer:
        runtime = self.model.runtime
        low = self.low_size if self.view == "low" else None
        spent = sum(map(self._tokens, self.sent))
        return Answer(
            text=generated.text.strip(),
            mode=self.options.mode,
            view=self.view,
            crops=tuple(map(self._describe, self.sent)),
            call_status=self.call.status,
            call_text=self.call_text,
            visual_tokens=VisualTokens(self.view_tokens, spent, self.full_tokens),
            pixel_ratio=pixel_ratio(self.views.source.size, low, self.sent),
            turns=tuple(self.turns),
            policies=tuple(self.policies),
            finish="stop" if generated.ended else "length",
            total_ms=(perf_counter() - self.started) * 1e3,
            runtime=runtime.name,
            precision=runtime.precision,
            protocol=self.model.protocol.name,
        )
