"""What a model says, as it comes: its answer apart from its reasoning."""

from __future__ import annotations

from collections.abc import Iterator

from awares_edge.controller.trace import ReasoningDelta, TextDelta
from awares_edge.protocol.profile import ProtocolProfile


class Speech:
    """Sorts the text of all turns of one question into answer and reasoning.

    Text between <think> and </think> is reasoning. Where the protocol marks its answer by a tag,
    all text outside <answer> is too; where it marks it otherwise, all text is. Each turn begins
    anew.

    Attributes:
        reasoning: what has been reasoning so far.
    """

    def __init__(self, profile: ProtocolProfile) -> None:
        rule = profile.answer.rule
        self.reasoning = ""
        self._answer = ""
        self._held = ""
        self._marks: dict[str, bool] = {}
        if rule in ("tag", "innermost"):
            self._marks = {"<answer>": True, "</answer>": False}
        elif profile.reasoning and rule == "text":
            self._marks = {"<think>": False, "</think>": True}
        self._answers_at_once = self._answering = rule == "text"

    def feed(self, text: str) -> Iterator[TextDelta | ReasoningDelta]:
        """Pieces that `text` completes; tags are held back until they are whole."""
        self._held += text
        while found := self._first_mark():
            at, mark = found
            yield from self._emit(at)
            self._held = self._held[len(mark) :]
            self._answering = self._marks[mark]
        yield from self._emit(len(self._held) - self._unfinished())

    def end_turn(self, answer: str = "") -> Iterator[TextDelta | ReasoningDelta]:
        """What is left of a turn.

        Args:
            answer: of the last turn. Where the model did not mark it, it comes as one piece.
        """
        yield from self._emit(len(self._held))
        if answer and not self._answer.strip():
            yield TextDelta(answer)
        self._answering, self._answer = self._answers_at_once, ""

    def _first_mark(self) -> tuple[int, str] | None:
        places = [(self._held.find(mark), mark) for mark in self._marks]
        return min((place for place in places if place[0] >= 0), default=None)

    def _unfinished(self) -> int:
        """Characters at the end that may become a mark."""
        return max(
            (
                length
                for mark in self._marks
                for length in range(1, len(mark))
                if self._held.endswith(mark[:length])
            ),
            default=0,
        )

    def _emit(self, length: int) -> Iterator[TextDelta | ReasoningDelta]:
        """Say the first characters of what is held."""
        text, self._held = self._held[:length], self._held[length:]
        if not text:
            return
        if self._answering:
            self._answer += text
            yield TextDelta(text)
        else:
            self.reasoning += text
            yield ReasoningDelta(text)
