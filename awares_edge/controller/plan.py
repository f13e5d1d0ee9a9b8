"""How a question begins: what is shown first, and how often the model may look closer."""

from __future__ import annotations

from dataclasses import dataclass

from awares_edge.controller.cuts import PictureCuts
from awares_edge.controller.options import AskOptions
from awares_edge.controller.policies import NARROW_VIEW, SMALL_IMAGE
from awares_edge.controller.trace import View

_PROGRESSIVE_CALLS = 3
"""Calls of one question in mode "progressive", unless the caller or the protocol allows more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question begins.

    Attributes:
        view: what the model is shown first.
        calls: how often it may look closer.
        policies: what policies decided instead of the model, as "policy:outcome".
        bias: added to the logit of the token that begins a call, at the first token of the first
            turn; None where no call is possible or that token does not decide.
    """

    view: View
    calls: int
    policies: tuple[str, ...] = ()
    bias: float | None = None


def plan_question(cuts: PictureCuts, options: AskOptions, bias: float | None = None) -> Plan:
    """How a question about this picture begins.

    Args:
        bias: of the decision at the first token; None where that token does not decide.
    """
    low = cuts.size("low")
    if options.mode == "full":
        return Plan("full", 0)
    if not cuts.fits(low):
        return Plan("full", 0, (f"{NARROW_VIEW}:full",))
    if options.mode == "low":
        return Plan("low", 0)
    smaller = cuts.profile.first_view.rule != "whole"
    # The low-res view would cost as many tokens as the whole picture.
    useless = smaller and cuts.tokens(low) >= cuts.tokens(cuts.source.size)
    if useless and not options.crops:
        return Plan("full", 0, (f"{SMALL_IMAGE}:full",))
    calls = _most_calls(cuts, options)
    return Plan("low", calls, bias=bias if calls else None)


def _most_calls(cuts: PictureCuts, options: AskOptions) -> int:
    if options.crops:
        return 0
    if options.max_calls is not None:
        return options.max_calls
    own = cuts.profile.limits.max_calls
    return max(own, _PROGRESSIVE_CALLS) if options.mode == "progressive" else own
