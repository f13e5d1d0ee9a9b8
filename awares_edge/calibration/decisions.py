"""Fits one bias on the decision to look closer.

A reply begins with a call where the margin of the call's first token (its logit, less the largest
other one) and the bias together are above 0. So the share of calls, the visual tokens and the time
that any bias leads to follow from questions that were asked both ways once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from awares_edge.calibration.outcomes import Measured
from awares_edge.errors import InputError

LEAST_QUESTIONS = 100
"""With fewer, a rate of one half is uncertain by more than ten points (95%)."""
_LATENCY_QUANTILE = 0.9
# How far a goal may be outside the measured range: goals are often read off rounded tables.
_ROUNDED = 0.001


@dataclass(frozen=True, slots=True)
class Point:
    """What a bias leads to.

    Attributes:
        call_rate: share of replies that begin with a call.
        rtr: mean of visual tokens over those of the whole picture.
        accuracy: share of right answers among questions with a known answer; None without any.
        ms_p90: nine questions of ten take at most this, milliseconds.
    """

    bias: float
    call_rate: float
    rtr: float
    accuracy: float | None
    ms_p90: float


class Decisions:
    """Questions that were asked both ways.

    Args:
        measured: at least `LEAST_QUESTIONS`.

    Raises:
        InputError: too few, or a margin is not finite.
    """

    def __init__(self, measured: Sequence[Measured]) -> None:
        check_enough(len(measured))
        self.margins = np.array([m.margin for m in measured])
        if not np.isfinite(self.margins).all():
            raise InputError("a decision has a margin that is not finite: the model is damaged")
        ways = [(m.direct, m.call) for m in measured]
        self._rtr = np.array([[way.rtr for way in pair] for pair in ways])
        self._ms = np.array([[way.ms for way in pair] for pair in ways])
        known = [[way.right for way in pair] for pair in ways]
        self._right = np.array(
            [[np.nan if r is None else float(r) for r in pair] for pair in known]
        )

    def __len__(self) -> int:
        return len(self.margins)

    def at(self, bias: float) -> Point:
        """What a bias leads to on these questions."""
        calls = self.margins + bias > 0
        right = _chosen(self._right, calls)
        known = right[~np.isnan(right)]
        return Point(
            float(bias),
            float(calls.mean()),
            float(_chosen(self._rtr, calls).mean()),
            float(known.mean()) if len(known) else None,
            float(np.quantile(_chosen(self._ms, calls), _LATENCY_QUANTILE)),
        )

    def uncertainty(self, bias: float) -> tuple[float, float]:
        """Half of the 95% interval of the call rate and of the mean RTR on other questions."""
        calls = self.margins + bias > 0
        scale = 1.96 / np.sqrt(len(calls))
        return float(calls.std() * scale), float(_chosen(self._rtr, calls).std() * scale)

    def biases(self) -> NDArray[np.float64]:
        """One bias for each set of calls that a bias can lead to, from none to all.

        In the middle between two margins, so that it holds for questions that are like these.
        """
        margins = np.unique(self.margins)[::-1]
        between = (margins[:-1] + margins[1:]) / 2
        return -np.concatenate([[margins[0] + 1], between, [margins[-1] - 1]])

    def sweep(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """`biases`, and the call rate and the mean RTR that each leads to."""
        order = np.argsort(-self.margins)
        calls = np.cumsum(np.unique(-self.margins, return_counts=True)[1])
        calls = np.concatenate([[0], calls])
        gained = np.concatenate([[0.0], np.cumsum((self._rtr[:, 1] - self._rtr[:, 0])[order])])
        count = len(self.margins)
        rtr = self._rtr[:, 0].mean() + gained[calls] / count
        return self.biases(), calls / count, rtr

    def curve(self, points: int = 11) -> list[Point]:
        """Points from no call to a call for every question, evenly spread over the call rate."""
        biases = self.biases()
        return [self.at(biases[i]) for i in np.linspace(0, len(biases) - 1, points).astype(int)]


def check_enough(count: int) -> None:
    """Check that there are `LEAST_QUESTIONS`.

    Raises:
        InputError: there are fewer.
    """
    if count < LEAST_QUESTIONS:
        raise InputError(
            f"calibration needs at least {LEAST_QUESTIONS} questions whose picture can be zoomed, "
            f"there are {count}: give {LEAST_QUESTIONS - count} more"
        )


def check_goal(value: float | None, what: str) -> None:
    """Check a target, if there is one.

    Raises:
        InputError: it is not a finite number above 0.
    """
    if value is not None and not (np.isfinite(value) and value > 0):
        raise InputError(f"{what} must be a finite number above 0")


def fit_call_rate(decisions: Decisions, rate: float) -> float:
    """The bias with which the model calls as often as a reference, by quantiles of margins.

    0 if no bias comes nearer than 0.

    Args:
        rate: share of the reference's calls on the same questions.

    Raises:
        InputError: not a share.
    """
    if not 0 <= rate <= 1:
        raise InputError("the reference's call rate must be between 0 and 1")
    return _nearest(decisions, rate, decisions.at(0.0).call_rate, decisions.sweep()[1])


def fit_rtr(decisions: Decisions, target: float) -> float:
    """The bias whose mean RTR is nearest to a target.

    Raises:
        InputError: no bias leads there.
    """
    check_goal(target, "the target RTR")
    means = decisions.sweep()[2]
    least, most = means[0], means[-1]
    if not min(least, most) - _ROUNDED <= target <= max(least, most) + _ROUNDED:
        raise InputError(
            f"a mean RTR of {target:g} cannot be reached: on these questions it is {least:.3f} "
            f"without any call and {most:.3f} with a call for every question"
        )
    return _nearest(decisions, target, decisions.at(0.0).rtr, means)


def fit_deadline(decisions: Decisions, ms: float) -> float:
    """The bias, at most 0, with which nine questions of ten take at most `ms` milliseconds.

    The largest one: the model calls as often as the time allows, and never more often than it
    wants to.

    Raises:
        InputError: without any call they take longer.
    """
    check_goal(ms, "the deadline")
    if decisions.at(0.0).ms_p90 <= ms:
        return 0.0
    biases = decisions.biases()
    for bias in biases[biases < 0][::-1]:
        if decisions.at(bias).ms_p90 <= ms:
            return float(bias)
    least, most = (decisions.at(biases[i]).ms_p90 for i in (0, -1))
    raise InputError(
        f"nine questions of ten within {ms:g} ms cannot be reached: here they take {least:.1f} ms "
        f"without any call and {most:.1f} ms with a call for every question"
    )


@dataclass(frozen=True, slots=True)
class Goal:
    """What a bias is fitted to: one of three.

    Attributes:
        call_rate: of a reference, on the same questions.
        rtr: mean of visual tokens over those of the whole picture.
        ms_p90: nine questions of ten take at most this, milliseconds.
    """

    call_rate: float | None = None
    rtr: float | None = None
    ms_p90: float | None = None

    def fit(self, decisions: Decisions) -> float:
        """The bias that reaches it.

        Raises:
            InputError: no goal or several, or none that can be reached.
        """
        if self.call_rate is not None and self.rtr is self.ms_p90 is None:
            return fit_call_rate(decisions, self.call_rate)
        if self.rtr is not None and self.call_rate is self.ms_p90 is None:
            return fit_rtr(decisions, self.rtr)
        if self.ms_p90 is not None and self.call_rate is self.rtr is None:
            return fit_deadline(decisions, self.ms_p90)
        raise InputError("a bias is fitted to one goal: a call rate, an RTR or a deadline")

    def __str__(self) -> str:
        if self.call_rate is not None:
            return f"a reference's call rate of {self.call_rate:.4f}"
        if self.rtr is not None:
            return f"a mean RTR of {self.rtr:g}"
        return f"9 of 10 within {self.ms_p90:g} ms"


def _chosen(values: NDArray[np.float64], calls: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of [question, way] the value of the way that is taken."""
    return np.where(calls, values[:, 1], values[:, 0])


def _nearest(
    decisions: Decisions, wanted: float, unbiased: float, values: NDArray[np.float64]
) -> float:
    """The bias whose value is nearest; of several the smallest change.

    Args:
        unbiased: the value without a bias.
        values: one for each of `decisions.biases()`.
    """
    biases = np.concatenate([[0.0], decisions.biases()])
    gaps = np.abs(np.concatenate([[unbiased], values]) - wanted).round(12)
    return float(biases[np.lexsort((np.abs(biases), gaps))[0]])
