"""The first decision of a reply: does it begin with a call?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from awares_edge.protocol.call import CallTokens
from awares_edge.runtimes.base import Logits


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a model stood between a call and an answer.

    Attributes:
        margin: logit of the token that begins a call, less the largest other logit; before `bias`.
            The reply begins with a call if margin and bias together are above 0.
        bias: what was added to that token's logit.
    """

    margin: float
    bias: float


def decide(logits: Logits, call: CallTokens, bias: float) -> tuple[Logits, Decision | None]:
    """Logits of a reply's first token with the bias, and the decision that they hold.

    Args:
        logits: float32 [vocabulary]; left as they are.

    Returns:
        the same logits and None where the profile's calls have no first token in common.
    """
    if not call.opening:
        return logits, None
    first = call.opening[0]
    biased = logits.copy()
    biased[first] = -np.inf
    margin = float(logits[first]) - float(biased.max())
    biased[first] = logits[first] + np.float32(bias)
    return biased, Decision(margin, bias)
