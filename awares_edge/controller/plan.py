"""How a question begins: what is shown first, and how often the model may look closer."""

from __future__ import annotations

from dataclasses import dataclass

from awares_edge.controller.decision import why_undecided
from awares_edge.controller.loaded import LoadedModel
from awares_edge.controller.options import AskOptions
from awares_edge.controller.policies import NARROW_VIEW, SMALL_IMAGE
from awares_edge.controller.trace import View
from awares_edge.controller.views import PictureViews
from awares_edge.errors import InputError

_PROGRESSIVE_CALLS = 3
"""Calls of one question in mode "progressive", unless the caller or the protocol allows more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question begins.

    Attributes:
        view: what the model is shown first.
        calls: how often it may look closer.
        policies: what was decided on the model's behalf, as "policy:outcome".
        bias: added to the logit of the token that begins a call, at the first token of the first
            turn; None where no call is possible or that token does not decide.
    """

    view: View
    calls: int
    policies: tuple[str, ...] = ()
    bias: float | None = None


def plan_question(views: PictureViews, options: AskOptions) -> Plan:
    """How a question about this picture begins.

    Raises:
        InputError: a bias was given, and the profile has no decision that it could apply to.
    """
    bias = _bias(views.model, options)
    low = views.size("low")
    if options.mode == "full":
        return Plan("full", 0)
    if not views.fits(low):
        return Plan("full", 0, (f"{NARROW_VIEW}:full",))
    if options.mode == "low":
        return Plan("low", 0)
    smaller = views.model.protocol.first_view.rule != "whole"
    # The low-res view would cost as much as the whole picture.
    useless = smaller and views.tokens(low) >= views.tokens(views.source.size)
    if useless and not options.crops:
        return Plan("full", 0, (f"{SMALL_IMAGE}:full",))
    calls = _most_calls(views, options)
    return Plan("low", calls, bias=bias if calls else None)


def _most_calls(views: PictureViews, options: AskOptions) -> int:
    if options.crops:
        return 0
    if options.max_calls is not None:
        return options.max_calls
    own = views.model.protocol.limits.max_calls
    return max(own, _PROGRESSIVE_CALLS) if options.mode == "progressive" else own


def _bias(model: LoadedModel, options: AskOptions) -> float | None:
    """The caller's bias, or the bundle's; None where the first token does not decide."""
    if reason := why_undecided(model.protocol, model.call):
        if options.decision_bias is not None:
            raise InputError(f"{reason}: leave decision_bias out")
        return None
    own = options.decision_bias
    return model.calibration.decision_bias if own is None else own
