"""Asks a model every question, and replays some of them token by token for their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.controller.picture import Picture
from awares_edge.controller.trace import Answer, CropsRequested
from awares_edge.errors import InputError
from awares_edge.evaluation.answers import is_right
from awares_edge.evaluation.parity.questions import Asked, Questions
from awares_edge.evaluation.parity.recording import (
    Floats,
    Probe,
    Recording,
    Region,
    Row,
    Turn,
    protocol_sha256,
    split_turns,
)
from awares_edge.evaluation.watch import (
    PlacedImage,
    WatchedRuntime,
    WatchedSession,
    assistant_opening,
    turn_starts,
    watch,
)
from awares_edge.runtimes.base import (
    EncodedImage,
    ImageSegment,
    Logits,
    Runtime,
    Segment,
    Session,
    TextSegment,
)


@dataclass(frozen=True, slots=True)
class _Said:
    """One question, asked once.

    Attributes:
        calls: regions sent, call by call.
        ids, images, margins: what the cache held at the end.
    """

    answer: Answer
    calls: tuple[tuple[Region, ...], ...]
    ids: tuple[int, ...]
    images: tuple[PlacedImage, ...]
    margins: dict[int, float]


def record(
    model: Model,
    about: dict[str, Any],
    questions: Questions,
    *,
    probes: int = 16,
    forced: Recording | None = None,
    max_new_tokens: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Ask a model every question, twice: of a fresh picture, and again with everything kept.

    Args:
        about: what the recording says of model and machine; protocol and questions are added.
        probes: questions, spread evenly, that are replayed for pixels, features and logits.
        forced: replay this recording's conversations instead of the model's own, so that the
            logits of both belong to the same tokens.
        max_new_tokens: most tokens of one turn.
        progress: called with the number of questions done, and of all.

    Raises:
        InputError: `forced` was asked other questions or under another protocol.
        AwaresError: as `Model.ask`.
    """
    about = {
        **about,
        "protocol": model.protocol.name,
        "protocol_sha256": protocol_sha256(model),
        "questions": questions.source,
        "questions_sha256": questions.sha256,
        "max_new_tokens": max_new_tokens,
        "vocabulary": model.runtime.vocabulary,
    }
    if forced is not None:
        check_same_terms(forced.about, about)
    tape = _Tape()
    watched, runtime = watch(model, tape)
    rows: list[Row] = []
    kept: dict[int, Probe] = {}
    options = AskOptions(max_new_tokens=max_new_tokens)
    # Spread over the list, because neighbours share a picture.
    count = len(questions.asked)
    chosen = {at * count // probes for at in range(probes)}
    try:
        for number, asked in enumerate(questions.asked):
            runtime.encoded.clear()
            row, said = _ask_twice(watched, tape, asked, options)
            rows.append(row)
            script = forced.probes.get(number) if forced is not None else None
            if script is not None or (forced is None and number in chosen):
                kept[number] = _probe(model, runtime, said, script)
            if progress:
                progress(number + 1, len(questions.asked))
    finally:
        watched.close()
    return Recording(about, tuple(rows), kept)


def check_same_terms(reference: dict[str, Any], candidate: dict[str, Any]) -> None:
    """
    Raises:
        InputError: the two were not asked the same, in the same way.
    """
    for key, what in (
        ("protocol_sha256", "protocol"),
        ("vocabulary", "vocabulary"),
        ("questions_sha256", "list of questions"),
        ("max_new_tokens", "limit of new tokens"),
    ):
        if reference[key] != candidate[key]:
            raise InputError(
                f"{reference['model']} and {candidate['model']} do not have the same {what} "
                f"({_short(reference, key)}; {_short(candidate, key)}): record the reference again "
                "with the candidate's"
            )


def _short(about: dict[str, Any], key: str) -> str:
    name = key.removesuffix("_sha256")
    value = about.get(name)
    if isinstance(value, dict):
        value = ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value) if name == key else f"{value}, SHA-256 {str(about[key])[:8]}"


class _Tape:
    """Notes how far each row's first choice is ahead of its second.

    Attributes:
        session: the one that computed last.
    """

    session: WatchedSession

    def __call__(self, session: WatchedSession, logits: Logits) -> Logits:
        self.session = session
        first = len(session.ids) - len(logits) + 1
        for offset, row in enumerate(logits):
            second, top = np.partition(row, -2)[-2:]
            session.notes[first + offset] = float((top - second) / max(float(row.std()), 1e-12))
        return logits

    def ask(self, picture: Picture, question: str, options: AskOptions) -> _Said:
        """Ask, and read the cache before the controller rewinds it."""
        calls: list[tuple[Region, ...]] = []
        for event in picture.stream(question, options):
            if isinstance(event, CropsRequested):
                calls.append(tuple((crop.id, crop.box) for crop in event.crops))
            elif isinstance(event, Answer):
                ids, images = tuple(self.session.ids), tuple(self.session.images)
                said = _Said(event, tuple(calls), ids, images, dict(self.session.notes))
        return said


def _ask_twice(model: Model, tape: _Tape, asked: Asked, options: AskOptions) -> tuple[Row, _Said]:
    opening, ends = assistant_opening(model), model.special.eos
    with model.open(asked.load()) as picture:
        cold = tape.ask(picture, asked.text, options)
        warm = tape.ask(picture, asked.text, options)
        size = picture.image.size
    turns = split_turns(cold.ids, cold.images, opening, ends)
    starts = turn_starts(cold.ids, opening)
    row = Row(
        sha256=asked.sha256,
        question=asked.text,
        size=size,
        called=bool(cold.calls) or cold.answer.call_status != "none",
        calls=cold.calls,
        answer=cold.answer.text,
        right=None if asked.expected is None else is_right(cold.answer.text, asked.expected),
        warm=(cold.calls, cold.answer.text) == (warm.calls, warm.answer.text),
        replies=tuple(turn.reply for turn in turns),
        margins=tuple(
            tuple(
                round(cold.margins[cell], 6)
                for cell in range(start, start + len(turn.reply) + 1)
                if cell in cold.margins
            )
            for start, turn in zip(starts, turns, strict=True)
        ),
    )
    return row, cold


def _probe(model: Model, runtime: WatchedRuntime, said: _Said, forced: Probe | None) -> Probe:
    """Replay a conversation: `forced`'s, or else the model's own."""
    pixels = {id(image): patches for image, patches in runtime.encoded}
    own = tuple(pixels[id(placed.image)] for placed in said.images)
    if forced is None:
        turns = split_turns(said.ids, said.images, assistant_opening(model), model.special.eos)
        images = own
    else:
        turns, images = forced.turns, forced.images
    encoded = [model.runtime.encode_image(patches) for patches in images]
    logits, drift = replay(model.runtime, turns, encoded)
    return Probe(turns, own[0], images, tuple(map(_features, encoded)), logits, drift)


def replay(
    runtime: Runtime, turns: Sequence[Turn], images: Sequence[EncodedImage]
) -> tuple[Floats, float]:
    """Logits of a conversation of which every token is given.

    Returns:
        float32 [rows, vocabulary] as `row_phases` names them, and the `Probe.reuse_drift`.
    """
    with runtime.open_session() as session:
        cold = _rows(session, turns, images)
    first = turns[0]
    # Up to the end of the first picture: what is kept between questions.
    cut = next((at for at, part in enumerate(first.prompt) if isinstance(part, int)), 0) + 1
    question = first.prompt[cut:]
    other = [part[::-1] for part in question if isinstance(part, tuple)]
    with runtime.open_session() as session:
        session.prefill(_segments(first.prompt[:cut], images))
        mark = session.mark()
        if other and question:
            session.prefill(_segments(other, images))
            session.rewind(mark)
            turns = [Turn(question, first.reply), *turns[1:]]
            warm = _rows(session, turns, images)
        else:
            warm = cold
    scale = np.maximum(cold.std(axis=-1), 1e-12)
    return cold, float((np.abs(warm - cold).max(axis=-1) / scale).max())


def _rows(session: Session, turns: Sequence[Turn], images: Sequence[EncodedImage]) -> Floats:
    rows = []
    for turn in turns:
        rows.append(session.prefill(_segments(turn.prompt, images)))
        if turn.reply:
            rows.append(session.prefill([TextSegment(turn.reply)], keep_logits=len(turn.reply)))
    return np.concatenate(rows).astype(np.float32, copy=False)


def _segments(
    parts: Sequence[tuple[int, ...] | int], images: Sequence[EncodedImage]
) -> list[Segment]:
    return [
        ImageSegment(images[part]) if isinstance(part, int) else TextSegment(part) for part in parts
    ]


def _features(image: EncodedImage) -> Floats | None:
    """float32 [tokens, hidden], where the runtime keeps its features as a matrix."""
    features = image.features
    if hasattr(features, "cpu"):
        features = features.float().cpu().numpy()
    if not isinstance(features, np.ndarray) or features.ndim != 2:
        return None
    return features.astype(np.float32)
