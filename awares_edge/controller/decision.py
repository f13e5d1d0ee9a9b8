"""The first decision of a reply: does it begin with a call?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from awares_edge.protocol.call import CallTokens
from awares_edge.protocol.profile import ProtocolProfile
from awares_edge.runtimes.base import Logits


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a model stood between a call and an answer.

    Attributes:
        token: the one that begins a call.
        margin: its logit, less the largest other logit; before `bias`. The reply begins with a
            call if margin and bias together are above 0.
        bias: what is added to its logit.
    """

    token: int
    margin: float
    bias: float

    def biased(self, logits: Logits) -> Logits:
        """The logits to choose the first token by; float32 [vocabulary], a copy."""
        changed: Logits = logits.copy()
        changed[self.token] += np.float32(self.bias)
        return changed


def why_undecided(profile: ProtocolProfile, call: CallTokens) -> str:
    """Why the first token does not decide whether a reply is a call; empty where it does."""
    if profile.reasoning:
        return f"under the profile {profile.name} the model thinks before it calls"
    if profile.limits.must_call:
        return f"under the profile {profile.name} every first reply is a call"
    if not call.opening:
        return f"calls under the profile {profile.name} have no first token in common"
    return ""


def decide(logits: Logits, call: CallTokens, bias: float) -> Decision:
    """The decision that the logits of a reply's first token hold.

    Args:
        logits: float32 [vocabulary].
        call: with a first token that all calls have in common (`why_undecided`).
    """
    first = call.opening[0]
    others = np.delete(logits, first).max()
    return Decision(first, float(logits[first]) - float(others), bias)
