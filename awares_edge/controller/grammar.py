"""What an answer may look like, where the caller wants more than free text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class AnswerGrammar(Protocol):
    """Holds answers to a form, token by token: JSON that matches a schema, a choice, ...

    Used by one question at a time. A call for crops is not an answer: wherever one is allowed, the
    model may still make it.
    """

    def allowed(self, ids: Sequence[int]) -> NDArray[np.bool_]:
        """Which tokens may follow.

        Args:
            ids: the reply so far, which may not begin an answer (a call has begun), and
                may be shorter than at the call before.

        Returns:
            bool [vocabulary]; end tokens are True where the answer is complete. All False where
            `ids` does not begin an answer.
        """
        ...
