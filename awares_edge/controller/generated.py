"""What one turn generates, and the limits that end it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic

from awares_edge.controller.options import AskOptions
from awares_edge.errors import Cancelled, DeadlineExceeded
from awares_edge.protocol.profile import ProtocolProfile


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that end a turn.

    Attributes:
        max_new_tokens: most tokens of one turn.
        deadline: `time.monotonic()` at which to give up; None for never.
        cancel: the question is cancelled when this is set.
    """

    max_new_tokens: int
    deadline: float | None = None
    cancel: threading.Event | None = None

    @classmethod
    def of(cls, options: AskOptions, profile: ProtocolProfile) -> Limits:
        """The limits of a question that is asked now."""
        deadline = None if options.timeout is None else monotonic() + options.timeout
        most = options.max_new_tokens or profile.limits.max_new_tokens
        return cls(most, deadline, options.cancel)

    def check(self, partial: str) -> None:
        """Raise if the time is up or the caller has cancelled."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("the question was cancelled", partial)
        if self.deadline is not None and monotonic() >= self.deadline:
            raise DeadlineExceeded(
                "the deadline passed before the answer was complete: allow more time", partial
            )


@dataclass(frozen=True, slots=True)
class Generated:
    """What one turn generated.

    Attributes:
        ids: generated tokens, without the end token.
        text: their text.
        ended: whether the model ended it (False: a limit did).
        end_cached: whether the end token is in the cache already (it is after a drafted call).
        uncached: last generated tokens that are not in the cache yet.
        call_barred: whether a call was taken back because none was allowed.
        stopped: whether a stop string ended it.
        scores: log-probability of each token, and of the end token if the model ended it.
    """

    ids: tuple[int, ...]
    text: str
    ended: bool = False
    end_cached: bool = False
    uncached: tuple[int, ...] = ()
    call_barred: bool = False
    stopped: bool = False
    scores: tuple[float, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the model or a stop string ended it."""
        return self.ended or self.stopped
