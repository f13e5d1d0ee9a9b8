"""What each way of the first decision leads to, measured question by question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.controller.decision import why_undecided
from awares_edge.controller.model import Model
from awares_edge.controller.options import MAX_DECISION_BIAS, AskOptions
from awares_edge.controller.trace import Answer
from awares_edge.errors import InputError
from awares_edge.evaluation.answers import is_right

Progress = Callable[[int], None]
"""Called with how many questions are done."""


@dataclass(frozen=True, slots=True)
class Way:
    """What one way of the decision led to.

    Attributes:
        right: whether the answer was right; None where the right one is not known.
        rtr: visual tokens, as a share of the whole picture's.
        ms: wall time of the question on its own, milliseconds.
    """

    right: bool | None
    rtr: float
    ms: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One question, asked both ways.

    Attributes:
        margin: the model calls if this and the bias together are above 0.
    """

    margin: float
    direct: Way
    call: Way


def check_decides(model: Model) -> None:
    """Check that a model's first token decides whether it calls.

    Raises:
        InputError: under its profile the first token does not decide.
    """
    if reason := why_undecided(model.protocol, model.call):
        raise InputError(f"{reason}: there is no decision at the first token to calibrate")


def measure(
    questions: Sequence[CalibrationQuestion], model: Model, progress: Progress | None = None
) -> list[Measured | None]:
    """Ask each question twice: with a call, and without.

    Every question is asked on its own, nothing kept from the one before, so that times are those of
    a question about a new picture.

    Returns:
        one a question; None where the model has nothing to decide: a picture too small to zoom.

    Raises:
        InputError: the profile has no such decision; a logit is not finite.
        ImageError, QuestionError: an input cannot be used.
    """
    check_decides(model)
    found: list[Measured | None] = []
    for asked in questions:
        answers = [_ask(model, asked, bias) for bias in (-MAX_DECISION_BIAS, MAX_DECISION_BIAS)]
        margin = answers[0].decision_margin
        if margin is None:
            found.append(None)
        else:
            direct, call = (_way(answer, asked) for answer in answers)
            found.append(Measured(margin, direct, call))
        if progress:
            progress(len(found))
    return found


def decisions(
    questions: Sequence[CalibrationQuestion], model: Model, progress: Progress | None = None
) -> list[bool | None]:
    """Whether a model calls, by question, with its own calibrated bias; None as in `measure`.

    Raises:
        InputError, ImageError, QuestionError: as for `measure`.
    """
    bias = model.calibration.decision_bias
    found = margins(questions, model, progress)
    return [None if margin is None else margin + bias > 0 for margin in found]


def margins(
    questions: Sequence[CalibrationQuestion], model: Model, progress: Progress | None = None
) -> list[float | None]:
    """The margin of each decision alone, which costs one turn; None as in `measure`.

    Raises:
        InputError, ImageError, QuestionError: as for `measure`.
    """
    check_decides(model)
    found: list[float | None] = []
    for asked in questions:
        # One token of an answer: the text is not used.
        options = AskOptions(decision_bias=-MAX_DECISION_BIAS, max_new_tokens=1)
        found.append(model.ask(asked.image, asked.question, options).decision_margin)
        if progress:
            progress(len(found))
    return found


def _ask(model: Model, asked: CalibrationQuestion, bias: float) -> Answer:
    return model.ask(asked.image, asked.question, AskOptions(decision_bias=bias))


def _way(answer: Answer, asked: CalibrationQuestion) -> Way:
    right = None if asked.answer is None else is_right(answer.text, asked.answer)
    return Way(right, answer.rtr, answer.total_ms)
