"""What the loop needs of a conversation, wherever it is held: in a KV cache or by a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from awares_edge.controller.decision import Decision
from awares_edge.controller.shown import Shown
from awares_edge.controller.trace import TurnTrace, View
from awares_edge.protocol.regions import Region


class ModelReply(Protocol):
    """One complete reply of the model."""

    @property
    def text(self) -> str:
        """All of it, a call included."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the model ended it, or a stop text did; False where a limit did."""
        ...

    @property
    def call_barred(self) -> bool:
        """Whether a call was taken back because none was allowed."""
        ...


class ShownBefore(Protocol):
    """The regions that are in context already."""

    def shown(self) -> list[Shown]:
        """Every region in context, in the order in which they were sent."""
        ...

    def holds(self, shown: Shown) -> bool:
        """Whether a region is in context already, at the same size."""
        ...


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely an answer is; see `Answer` for both."""

    log_probability: float
    confidence: float


class Dialogue(ShownBefore, Protocol):
    """The conversation about one picture, while one question is answered.

    Every method may raise `Interrupted` where the question's time is up or its caller cancelled.
    """

    @property
    def view_tokens(self) -> int:
        """Visual tokens of the view in context."""
        ...

    @property
    def decision(self) -> Decision | None:
        """The decision at the first token, once it is made; None where that is not known."""
        ...

    def bias(self) -> float | None:
        """The bias of the decision at the first token; None where that token does not decide.

        Raises:
            InputError: a bias was given, but the first token does not decide here.
        """
        ...

    def begin(self, view: View, question: str, trace: TurnTrace) -> int:
        """Ask the question; how many earlier exchanges were dropped to make room.

        Args:
            trace: of the first turn.
        """
        ...

    def follow(
        self, trace: TurnTrace, *, allow_call: bool, bias: float | None
    ) -> Iterator[str | ModelReply]:
        """Generate a turn: pieces of text that are not part of a call, and last the reply.

        Args:
            bias: of the decision at its first token; None where there is none.
        """
        ...

    def follow_without_call(self) -> Iterator[str | ModelReply]:
        """Take back the call that the last turn ended with, and go on as if none were allowed."""
        ...

    def force(self, text: str, trace: TurnTrace) -> ModelReply:
        """A call of the caller, as if the model had generated it."""
        ...

    def free(self) -> int | None:
        """KV cells that are free behind the last reply; None where that is not known."""
        ...

    def cells_of(self, regions: Sequence[Region]) -> int:
        """KV cells, or a bound on them, that a turn with these regions takes."""
        ...

    def cells_of_error(self, problem: str) -> int:
        """KV cells, or a bound on them, that telling the model of a problem takes."""
        ...

    def show(self, regions: Sequence[Shown], trace: TurnTrace) -> None:
        """Send the regions that the last reply called for.

        Args:
            trace: of the turn that follows.
        """
        ...

    def send_error(self, problem: str, trace: TurnTrace) -> None:
        """Send the model an error message about the call in its last reply."""
        ...

    def likelihood(self, answer: str) -> Likelihood | None:
        """How likely the answer in the last reply is; None where that is not known."""
        ...

    def finish(self) -> None:
        """Keep the answer: a follow-up begins behind it."""
        ...

    def count(self, text: str) -> int | None:
        """Length of a text in tokens; None where that is not known."""
        ...
