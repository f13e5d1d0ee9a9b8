"""The AwaRes loop for one question: low-res view, decision, crops, answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from time import monotonic, perf_counter

from awares_edge.controller.decoding import Generated, Limits, TurnDecoder
from awares_edge.controller.options import AskOptions
from awares_edge.controller.policies import (
    CALL_BARRED,
    FORCED_CROPS,
    SMALL_IMAGE,
    Selection,
    select_crops,
)
from awares_edge.controller.trace import (
    Answer,
    CropsRequested,
    Event,
    TextDelta,
    TurnTrace,
    ZoomedCrop,
)
from awares_edge.controller.views import PictureViews, View, ViewState
from awares_edge.errors import InputError
from awares_edge.protocol.budget import VisualTokens, pixel_ratio
from awares_edge.protocol.crops import Crop
from awares_edge.protocol.parsing import CropCall, render_call
from awares_edge.runtimes.base import ImageSegment, Logits, Segment, TextSegment

# KV cells that a second turn must leave free for its answer.
_ANSWER_ROOM = 16


def answer_question(picture: PictureViews, question: str, options: AskOptions) -> Iterator[Event]:
    """Answer one question from the picture's kept state; the caller rewinds its sessions after."""
    return _Question(picture, options).run(question)


class _Question:
    """State of one question on its way through the loop."""

    def __init__(self, picture: PictureViews, options: AskOptions) -> None:
        self.started = perf_counter()
        self.picture = picture
        self.engine = picture.engine
        self.options = options
        deadline = None if options.timeout is None else monotonic() + options.timeout
        self.limits = Limits(options.max_new_tokens, deadline, options.cancel)
        self.turns = [TurnTrace()]
        self.policies: list[str] = []
        self.full_tokens = picture.tokens(picture.source.size)
        self.low_size = self.engine.protocol.low_res_size(picture.source.size)

        self.view: View = "full" if options.mode == "full" else "low"
        small = picture.tokens(self.low_size) >= self.full_tokens
        if small and options.mode == "awares" and not options.crops:
            # The low-res view would cost as much as the whole picture.
            self.view = "full"
            self.policies.append(f"{SMALL_IMAGE}:full")

    def run(self, question: str) -> Generator[Event, None, None]:
        self.limits.check("")
        state = self.picture.view(self.view, self.turns[0])
        session = state.session
        self.decoder = TurnDecoder(
            session,
            self.engine.tokenizer,
            self.engine.special,
            self.engine.call,
            constrain=self.options.constrain,
        )
        self.limits.check("")
        logits = self._prefill_question(state, question)
        start = session.mark()

        if self.options.crops:
            generated, call = self._forced_call()
            self.policies.append(f"{FORCED_CROPS}:{','.join(call.ids)}")
        else:
            may_zoom = self.options.mode == "awares" and self.view == "low"
            generated = yield from self._decode(logits, allow_call=may_zoom)
            call = self.engine.call.parse(generated.text) if may_zoom else CropCall("none")
        if call.status == "none":
            yield self._answer(generated, call, (), "")
            return

        crops, call_text = self._select(call, state), generated.text
        if not crops:
            self.turns[0].discarded_tokens += session.cells - start.cells
            session.rewind(start)
            first = frozenset(generated.ids[:1])
            generated = yield from self._decode(logits, allow_call=False, barred=first)
            yield self._answer(generated, call, (), call_text)
            return

        self.turns.append(TurnTrace())
        zoomed = tuple(self._describe(crop) for crop in crops)
        yield CropsRequested(zoomed)
        logits = self._prefill_crops(state, generated, crops)
        generated = yield from self._decode(logits, allow_call=False)
        yield self._answer(generated, call, zoomed, call_text)

    def _prefill_question(self, state: ViewState, question: str) -> Logits:
        """Append what the cache lacks of picture and question; logits after it."""
        trace, session = self.turns[0], state.session
        view: list[Segment] = []
        if state.mark is None:
            view = [TextSegment(self.engine.prompt.open_picture()), ImageSegment(state.image)]
        after_view = session.mark_after(view)
        logits = self._prefill([*view, TextSegment(self.engine.prompt.ask(question))], state, trace)
        state.mark = after_view
        return logits

    def _prefill_crops(
        self, state: ViewState, generated: Generated, crops: Sequence[Crop]
    ) -> Logits:
        """Append the crops behind the call, exactly as it was generated; logits after them."""
        trace, prompt = self.turns[1], self.engine.prompt
        opening = prompt.open_crops()[1:] if generated.end_cached else prompt.open_crops()
        segments: list[Segment] = []
        text = (*generated.uncached, *opening)
        for crop in crops:
            self.limits.check("")
            segments += [TextSegment(text), ImageSegment(self.picture.encode_crop(crop, trace))]
            text = prompt.next_crop()
        self.limits.check("")
        return self._prefill([*segments, TextSegment(prompt.close_crops())], state, trace)

    def _prefill(self, segments: list[Segment], state: ViewState, trace: TurnTrace) -> Logits:
        trace.reused_tokens = state.session.cells
        with trace.time("prefill"):
            logits: Logits = state.session.prefill(segments)[0]
        trace.prefill_tokens = sum(segment.cells for segment in segments)
        return logits

    def _decode(
        self, logits: Logits, *, allow_call: bool, barred: frozenset[int] = frozenset()
    ) -> Generator[Event, None, Generated]:
        events = self.decoder.run(
            logits, self.limits, self.turns[-1], allow_call=allow_call, barred=barred
        )
        for event in events:
            if isinstance(event, Generated):
                if event.call_barred:
                    self.policies.append(f"{CALL_BARRED}:turn {len(self.turns)}")
                return event
            yield TextDelta(event)
        raise AssertionError("a turn ends with what it generated")

    def _forced_call(self) -> tuple[Generated, CropCall]:
        try:
            text = render_call(self.options.crops)
        except ValueError as error:
            offered = ", ".join(self.engine.protocol.crop_ids)
            raise InputError(f"{error}: choose from {offered}") from error
        ids = tuple(self.engine.tokenizer.encode(text))
        generated = Generated(ids, text, uncached=ids)
        return generated, CropCall("ok", self.options.crops)

    def _select(self, call: CropCall, state: ViewState) -> list[Crop]:
        size, prompt = self.picture.source.size, self.engine.prompt
        text = len(prompt.open_crops()) + len(prompt.close_crops()) + _ANSWER_ROOM

        def crop(crop_id: str) -> Crop:
            return self.engine.protocol.crop(crop_id, size)

        def tokens_of(crop_id: str) -> int:
            return self.picture.tokens(crop(crop_id).size)

        def cells_of(ids: Sequence[str]) -> int:
            between = len(prompt.next_crop()) * (len(ids) - 1)
            return text + between + sum(map(tokens_of, ids))

        selection: Selection = select_crops(
            call.ids,
            self.options.policies,
            low_tokens=state.image.grid.tokens,
            full_tokens=self.full_tokens,
            tokens_of=tokens_of,
            cells_of=cells_of,
            room=state.session.context - state.session.cells,
        )
        self.policies += selection.applied
        # Crops of a picture too small to cut are all the whole picture: send it once.
        by_box = {(c := crop(crop_id)).box: c for crop_id in reversed(selection.ids)}
        return list(reversed(by_box.values()))

    def _describe(self, crop: Crop) -> ZoomedCrop:
        box = self.picture.to_image_box(crop.box)
        return ZoomedCrop(crop.id, crop.name, box, self.picture.tokens(crop.size))

    def _answer(
        self, generated: Generated, call: CropCall, crops: tuple[ZoomedCrop, ...], call_text: str
    ) -> Answer:
        picture, runtime = self.picture, self.engine.runtime
        low = self.low_size if self.view == "low" else None
        sent = [self.engine.protocol.crop(crop.id, picture.source.size) for crop in crops]
        first = picture.tokens(low) if low else self.full_tokens
        return Answer(
            text=generated.text.strip(),
            mode=self.options.mode,
            crops=crops,
            call_status=call.status,
            call_text=call_text,
            visual_tokens=VisualTokens(first, sum(c.tokens for c in crops), self.full_tokens),
            pixel_ratio=pixel_ratio(picture.source.size, low, sent),
            turns=tuple(self.turns),
            policies=tuple(self.policies),
            finish="stop" if generated.ended else "length",
            total_ms=(perf_counter() - self.started) * 1e3,
            runtime=runtime.name,
            precision=runtime.precision,
            protocol=self.engine.protocol.name,
        )
