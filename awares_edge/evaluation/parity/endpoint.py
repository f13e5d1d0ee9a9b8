"""Compares a model behind an endpoint with a reference: decisions and answers, without logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from awares_edge.controller.askable import Askable, OpenPicture
from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import Answer, CropsRequested
from awares_edge.errors import InputError
from awares_edge.evaluation.answers import is_right
from awares_edge.evaluation.parity.questions import Asked, Questions
from awares_edge.evaluation.parity.recording import Recording, Region, Row

_SAME = ("protocol_sha256", "vocabulary", "max_new_tokens")


def record_endpoint(
    model: Askable,
    about: dict[str, Any],
    questions: Questions,
    reference: Recording,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Ask every question twice, as `collect.record` does. There are no tokens and no probes.

    Args:
        about: what the recording says of the machine; model, protocol and questions are added.
        reference: what it will be compared with. A server does not report its tokenizer: the
            recording takes the reference's.

    Raises:
        InputError: the reference was recorded under another protocol.
        AwaresError: as `Askable.ask`.
    """
    served = model.about
    if model.protocol.name != reference.about["protocol"]:
        raise InputError(
            f"{served.name} is asked under {model.protocol.name}, the reference was under "
            f"{reference.about['protocol']}: record the reference again with the same protocol"
        )
    about = {
        "model": served.name,
        "endpoint": served.address,
        "runtime": served.runtime,
        "precision": served.precision,
        "device": served.device,
        "threads": None,
        **about,
        "protocol": model.protocol.name,
        "questions": questions.source,
        "questions_sha256": questions.sha256,
        **{key: reference.about[key] for key in _SAME},
    }
    options = AskOptions(max_new_tokens=reference.about["max_new_tokens"])
    rows = []
    for number, asked in enumerate(questions.asked, 1):
        rows.append(_ask_twice(model, asked, options))
        if progress:
            progress(number, len(questions.asked))
    return Recording(about, tuple(rows), {})


def _ask_twice(model: Askable, asked: Asked, options: AskOptions) -> Row:
    with model.open(asked.load()) as picture:
        calls, answer = _ask(picture, asked.text, options)
        again, second = _ask(picture, asked.text, options)
        size = picture.image.size
    return Row(
        sha256=asked.sha256,
        question=asked.text,
        size=size,
        called=bool(calls) or answer.call_status != "none",
        calls=calls,
        answer=answer.text,
        right=None if asked.expected is None else is_right(answer.text, asked.expected),
        warm=(calls, answer.text) == (again, second.text),
        replies=(),
        margins=(),
    )


def _ask(
    picture: OpenPicture, question: str, options: AskOptions
) -> tuple[tuple[tuple[Region, ...], ...], Answer]:
    """The regions that were sent, call by call, and the answer."""
    calls: list[tuple[Region, ...]] = []
    for event in picture.stream(question, options):
        if isinstance(event, CropsRequested):
            calls.append(tuple((crop.id, crop.box) for crop in event.crops))
        elif isinstance(event, Answer):
            answer = event
    return tuple(calls), answer
