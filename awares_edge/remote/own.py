"""`awares-edge serve` runs the loop itself: one request, whose extension fields are the answer.

It is asked with the whole picture, and says in the field `awares` what `Answer` holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from time import perf_counter
from typing import Any, Literal

from awares_edge.controller.generated import Limits
from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import (
    COUNTS,
    PHASES,
    Answer,
    CropsRequested,
    Event,
    Mode,
    ReasoningDelta,
    TextDelta,
    TurnTrace,
    View,
    ZoomedCrop,
)
from awares_edge.errors import EndpointError, InputError
from awares_edge.protocol.budget import VisualTokens
from awares_edge.protocol.call import CallStatus
from awares_edge.protocol.crops import Box
from awares_edge.remote.failures import unusable
from awares_edge.remote.link import Link
from awares_edge.remote.messages import Message
from awares_edge.schema import Items, Real, Text, Whole, read_dataclass
from awares_edge.schema import Limits as FieldLimits

_TOKENS = Whole(0, 1 << 40)
_LONG = Text(0, 1 << 22)
_TURNS = Items(1, 128)
_MOST_MS = 1e12
_FIELDS: FieldLimits = {
    "answer": _LONG,
    "reasoning": _LONG,
    "call_text": _LONG,
    "zoomed": Items(0, 1024),
    "zoomed[].tokens": _TOKENS,
    "visual_tokens.low": _TOKENS,
    "visual_tokens.crops": _TOKENS,
    "visual_tokens.full": Whole(1, 1 << 40),
    "pixel_ratio": Real(0, 1e9),
    "confidence": Real(0, 1),
    "log_probability": Real(-1e9, 0),
    "decision_margin": Real(-1e9, 1e9),
    "decision_bias": Real(-1e9, 1e9),
    "withheld": _LONG,
    "policies": Items(0, 1024),
    **dict.fromkeys(COUNTS, _TURNS),
    **{f"{name}[]": _TOKENS for name in COUNTS},
}


@dataclass(frozen=True, slots=True)
class _Crop:
    """A crop, as the server names it."""

    id: str
    name: str
    box: Box
    tokens: int
    size: tuple[int, int]
    turn: int

    def zoomed(self) -> ZoomedCrop:
        return ZoomedCrop(self.id, self.name, self.box, self.tokens, self.size, self.turn)


@dataclass(frozen=True, slots=True)
class _Extension:
    """The extension fields that make an `Answer`; those of the same name mean the same."""

    answer: str
    mode: Mode
    view: View
    zoomed: tuple[_Crop, ...]
    call_status: CallStatus
    call_text: str
    visual_tokens: VisualTokens
    pixel_ratio: float
    prefill_tokens: tuple[int | None, ...]
    reused_tokens: tuple[int | None, ...]
    decode_tokens: tuple[int | None, ...]
    discarded_tokens: tuple[int | None, ...]
    reused_regions: tuple[int | None, ...]
    policies: tuple[str, ...]
    finish: Literal["stop", "length"]
    runtime: str
    precision: str
    protocol: str
    confidence: float | None
    log_probability: float | None
    decision_margin: float | None
    decision_bias: float
    withheld: str | None = None
    reasoning: str = ""
    reasoning_tokens: int | None = 0


def check_options(options: AskOptions) -> None:
    """
    Raises:
        InputError: our server takes no such option.
    """
    if not options.constrain:
        raise InputError("a server always constrains calls to their grammar: leave constrain out")


def answer_events(
    link: Link, talk: list[Message], options: AskOptions, limits: Limits
) -> Iterator[Event]:
    """Ask our server, and follow.

    Args:
        talk: the messages; the last one is the question.

    Raises:
        EndpointError, ContextOverflow, Interrupted: as `Link.complete`.
    """
    started = perf_counter()
    body: dict[str, Any] = {"messages": talk, "awares": _request(options)}
    if options.max_new_tokens is not None:
        body["max_tokens"] = options.max_new_tokens
    reader, text, reported = link.reader(), "", None
    with closing(link.complete(body, reader, limits, lambda: text)) as replies:
        for piece, chunk in replies:
            extension = chunk.get("awares")
            if isinstance(extension, dict) and "zooming" in extension:
                text = ""
                yield CropsRequested(_crops(extension, link.url))
            elif isinstance(extension, dict):
                reported = extension
            if piece.reasoning:
                yield ReasoningDelta(piece.reasoning)
            if piece.text:
                text += piece.text
                yield TextDelta(piece.text)
    if reported is None:
        raise unusable(link.url, "it lacks the fields that an awares-edge server sends")
    cut = text if reader.ending.finish == "length" else None
    yield _answer(reported, options, link.url, cut, (perf_counter() - started) * 1e3)


def _request(options: AskOptions) -> dict[str, Any]:
    policies = options.policies
    return {
        "mode": options.mode,
        "max_calls": options.max_calls,
        "crops": list(options.crops),
        "invalid_call": policies.invalid_call,
        "max_crops": policies.max_crops,
        "too_many_crops": policies.too_many_crops,
        "max_rtr": policies.max_rtr,
        "abstain_below": policies.abstain_below,
        "decision_bias": options.decision_bias,
    }


@dataclass(frozen=True, slots=True)
class _Zooming:
    zooming: tuple[_Crop, ...]


def _crops(extension: Mapping[str, Any], url: str) -> tuple[ZoomedCrop, ...]:
    try:
        found = read_dataclass(_Zooming, {"zooming": extension["zooming"]}, "zooming")
    except InputError as error:
        raise unusable(url, str(error)) from None
    return tuple(crop.zoomed() for crop in found.zooming)


def _answer(
    reported: Mapping[str, Any], options: AskOptions, url: str, cut: str | None, total_ms: float
) -> Answer:
    """The answer that the server reports.

    Args:
        cut: its text, where the server cut it to the token limit.
    """
    known = {field.name for field in fields(_Extension)}
    try:
        found = read_dataclass(
            _Extension, {k: v for k, v in reported.items() if k in known}, "awares", _FIELDS
        )
    except InputError as error:
        raise EndpointError(
            f"{url} is an awares-edge server of a different version ({error}): update it"
        ) from None
    if found.mode != options.mode:
        raise EndpointError(f"{url} answered in mode {found.mode!r}: update the server")
    return Answer(
        text=found.answer if cut is None else cut,
        mode=found.mode,
        view=found.view,
        crops=tuple(crop.zoomed() for crop in found.zoomed),
        call_status=found.call_status,
        call_text=found.call_text,
        visual_tokens=found.visual_tokens,
        pixel_ratio=found.pixel_ratio,
        turns=_turns(found, reported.get("timings_ms")),
        policies=found.policies,
        finish=found.finish if cut is None else "length",
        total_ms=total_ms,
        runtime=found.runtime,
        precision=found.precision,
        protocol=found.protocol,
        confidence=found.confidence,
        log_probability=found.log_probability,
        decision_margin=found.decision_margin,
        decision_bias=found.decision_bias,
        withheld=found.withheld,
        reasoning=found.reasoning,
        reasoning_tokens=found.reasoning_tokens,
    )


def _turns(found: _Extension, timings: object) -> tuple[TurnTrace, ...]:
    """One trace a turn; the lists of an answer of one turn have a second, empty entry."""
    turns = []
    for at in range(len(found.prefill_tokens)):
        trace, unknown = TurnTrace(), set()
        for name in COUNTS:
            values: tuple[int | None, ...] = getattr(found, name)
            value = values[at] if at < len(values) else None
            if value is None:
                unknown.add(name)
            else:
                setattr(trace, name, value)
        for phase in PHASES:
            ms = _at(timings.get(phase) if isinstance(timings, dict) else None, at)
            if ms is None:
                unknown.add(phase)
            else:
                trace.ms[phase] = ms
        trace.unreported = frozenset(unknown)
        turns.append(trace)
    while len(turns) > 1 and turns[-1] == TurnTrace():
        del turns[-1]
    return tuple(turns)


def _at(values: object, index: int) -> float | None:
    value = values[index] if isinstance(values, list) and index < len(values) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value < _MOST_MS else None
