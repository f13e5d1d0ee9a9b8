"""One question followed event by event, and questions one after the other for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import monotonic, perf_counter, process_time
from typing import Any, TypeAlias

import numpy as np

from awares_edge.controller.askable import OpenPicture
from awares_edge.controller.options import AskOptions
from awares_edge.controller.trace import Answer, CropsRequested, TextDelta
from awares_edge.evaluation.profile.sensors import Heat

Row: TypeAlias = dict[str, Any]
Ask: TypeAlias = Callable[[np.random.Generator], Row]
Progress: TypeAlias = Callable[[int, int], None]

_SUSTAINED_SAMPLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Followed:
    """What a question looked like from outside.

    Attributes:
        total_ms, cpu_ms: time of the question, and of this process's processors for it.
        first_text_ms: until the first text of the answer; None where there was none.
        texts: pieces in which the answer's text came.
        begins: by turn, when it began and what `count` returned then; the last entry is the end.
            A turn that sends no crops, but an error message, is missing.
    """

    answer: Answer
    total_ms: float
    cpu_ms: float
    first_text_ms: float | None
    texts: int
    begins: dict[int, tuple[float, int]]

    @property
    def image_tokens(self) -> list[list[int]]:
        """Visual tokens of each picture that was sent, by turn."""
        crops = self.answer.crops
        sent = [[c.tokens for c in crops if c.turn == t] for t in range(len(self.answer.turns) - 1)]
        return [[self.answer.visual_tokens.low], *sent]

    def turn_ms(self) -> list[float | None]:
        """Milliseconds of each turn; None where its beginning or end was not seen."""
        return [pair and pair[1][0] - pair[0][0] for pair in self._turns()]

    def counted(self) -> list[int | None]:
        """How far `count` went in each turn; None where its beginning or end was not seen."""
        return [pair and pair[1][1] - pair[0][1] for pair in self._turns()]

    def _turns(self) -> list[tuple[tuple[float, int], tuple[float, int]] | None]:
        seen = self.begins
        return [
            (seen[turn], seen[turn + 1]) if {turn, turn + 1} <= seen.keys() else None
            for turn in range(len(self.answer.turns))
        ]


def follow(
    picture: OpenPicture,
    question: str,
    options: AskOptions,
    count: Callable[[], int] = lambda: 0,
) -> Followed:
    """Ask one question and note when what came.

    Args:
        count: read when each turn begins and ends.
    """
    first_text: float | None = None
    texts, begins = 0, {0: (0.0, count())}
    cpu, start = process_time(), perf_counter()

    def ms() -> float:
        return (perf_counter() - start) * 1e3

    for event in picture.stream(question, options):
        if isinstance(event, TextDelta):
            first_text = ms() if first_text is None else first_text
            texts += 1
        elif isinstance(event, CropsRequested) and event.crops:
            begins[event.crops[0].turn + 1] = ms(), count()
            first_text, texts = None, 0
        elif isinstance(event, Answer):
            answer = event
    total, spent = ms(), (process_time() - cpu) * 1e3
    begins[len(answer.turns)] = total, count()
    return Followed(answer, total, spent, first_text, texts, begins)


def sustain(seconds: float, ask: Callable[[], Row], read: Callable[[], Heat]) -> list[Row]:
    """Questions one after the other for some time, with the machine's state beside them.

    Args:
        read: the machine's state now.
    """
    samples: list[Row] = []
    start = monotonic()
    heat, read_at = read(), start
    while (now := monotonic()) - start < seconds:
        if now - read_at >= _SUSTAINED_SAMPLE_S:
            heat, read_at = read(), now
        samples.append({"at_s": now - start, "total_ms": ask()["total_ms"], **asdict(heat)})
    return samples
