"""Fits how far the probability of an answer can be trusted, by kind of answer.

The log-odds of an answer are divided by one temperature: the one that makes the answers' being
right or wrong most likely. It changes no order, so it changes no AUROC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from awares_edge.calibration.outcomes import Progress
from awares_edge.calibration.questions import CalibrationQuestion
from awares_edge.controller.model import Model
from awares_edge.errors import InputError
from awares_edge.evaluation.answers import is_right
from awares_edge.protocol.calibration import AnswerKind, answer_kind, log_odds

LEAST_ANSWERS = 50
LEAST_OF_EACH = 5
"""Right ones, and wrong ones, without which a temperature cannot be fitted."""
_BINS = 10
_LEAST, _MOST = 0.05, 20.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer.

    Attributes:
        log_probability: of its tokens, before calibration.
    """

    text: str
    log_probability: float
    right: bool


@dataclass(frozen=True, slots=True)
class KindReport:
    """How one kind of answer did.

    Attributes:
        answers, right: how many, and how many of them were right.
        auroc: share of pairs of a right and a wrong answer in which the right one is more
            confident; None without such a pair.
        temperature: fitted; None where `answers` are too few or too much alike.
        error_before, error_after: expected calibration error with the temperature 1, and with the
            fitted one.
    """

    answers: int
    right: int
    auroc: float | None
    temperature: float | None
    error_before: float
    error_after: float


def ask_all(
    questions: Sequence[CalibrationQuestion], model: Model, progress: Progress | None = None
) -> list[Answered]:
    """Ask each question as the model is deployed.

    Raises:
        InputError: a question has no known answer.
        ImageError, QuestionError: an input cannot be used.
    """
    found: list[Answered] = []
    for number, asked in enumerate(questions, 1):
        if asked.answer is None:
            raise InputError(f'question {number} has no answer to compare with: add "answer"')
        answer = model.ask(asked.image, asked.question)
        right = is_right(answer.text, asked.answer)
        assert answer.log_probability is not None  # a model on this machine says it
        found.append(Answered(answer.text, answer.log_probability, right))
        if progress:
            progress(number)
    return found


def report_kinds(answered: Sequence[Answered]) -> dict[AnswerKind, KindReport]:
    """Fit a temperature for each kind of answer that there is.

    Raises:
        InputError: there are too few for any kind.
    """
    kinds: tuple[AnswerKind, ...] = ("text", "closed")
    reports = {
        kind: _report(group)
        for kind in kinds
        if (group := [a for a in answered if answer_kind(a.text) == kind])
    }
    if all(report.temperature is None for report in reports.values()):
        counts = ", ".join(
            f"{report.answers} of kind {kind} ({report.answers - report.right} wrong)"
            for kind, report in reports.items()
        )
        raise InputError(
            f"a temperature needs at least {LEAST_ANSWERS} answers of a kind, {LEAST_OF_EACH} of "
            f"them right and {LEAST_OF_EACH} wrong; there are {counts or 'none'}: give more "
            "questions, or harder ones"
        )
    return reports


def fit_temperature(odds: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The temperature, from 0.05 to 20, under which the outcomes are most likely.

    Right and wrong count as a little less than certain, as in Platt (1999): where the odds of all
    right answers are above those of all wrong ones, no finite temperature would be best.

    Args:
        odds: [n] log-odds of the answers.
        right: [n] whether each was right.
    """
    positive, negative = int(right.sum()), int((~right).sum())
    wanted = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))
    # The negative log-likelihood is convex in 1 / T: its slope has one zero.
    low, high = 1 / _MOST, 1 / _LEAST
    for _ in range(60):
        middle = (low + high) / 2
        slope = (odds * (_sigmoid(odds * middle) - wanted)).sum()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(2 / (low + high))


def auroc(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Share of pairs of a right and a wrong answer in which the right one has the higher score.

    Equal scores count one half. None without such a pair.
    """
    positive, negative = int(right.sum()), int((~right).sum())
    if not positive or not negative:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # Mean rank of each value, from 1.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[right].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over ten bins of equal width (Guo et al., 2017)."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(confidence[inside].mean() - right[inside].mean()) * inside.mean()
        for inside in (bins == i for i in range(_BINS))
        if inside.any()
    ]
    return float(sum(gaps))


def _report(answered: Sequence[Answered]) -> KindReport:
    odds = np.array([log_odds(a.log_probability) for a in answered])
    right = np.array([a.right for a in answered])
    count, correct = len(right), int(right.sum())
    fits = count >= LEAST_ANSWERS and min(correct, count - correct) >= LEAST_OF_EACH
    temperature = fit_temperature(odds, right) if fits else None
    return KindReport(
        count,
        correct,
        auroc(odds, right),
        temperature,
        calibration_error(_sigmoid(odds), right),
        calibration_error(_sigmoid(odds / (temperature or 1.0)), right),
    )


def _sigmoid(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(np.clip(-odds, -700, 700)))
