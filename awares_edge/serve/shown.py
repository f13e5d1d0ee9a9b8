"""The text that a client gets: the answer without outer white space, up to a stop text or a limit.

A streamed and an unstreamed answer go through the same `Shown`, so they are the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from awares_edge.controller import Answer, Model

Finish = Literal["stop", "length"]

# A call for crops with all nine ids takes about sixty tokens. It does not count against the
# client's limit, or a short limit would switch zooming off.
CALL_TOKENS = 64


class Shown:
    """Cuts an answer as it comes.

    Args:
        stops: texts before which the answer ends.
        shorten: cuts a complete text to the client's token limit; None where generation itself
            keeps to it. Where there is one, nothing is shown before the end.

    Attributes:
        stopped: whether a stop text ended the answer.
        cut: whether `shorten` did.
    """

    def __init__(
        self, stops: Sequence[str] = (), shorten: Callable[[str], str] | None = None
    ) -> None:
        self._stops, self._shorten = tuple(stops), shorten
        self._text = ""
        self._shown = 0
        self.stopped = self.cut = False

    def feed(self, piece: str) -> str:
        """What may be shown now that `piece` has come."""
        self._text = (self._text + piece).lstrip() if not self._shown else self._text + piece
        if self.stopped:
            return ""
        return "" if self._shorten else self._release(self._certain())

    def close(self) -> str:
        """What is left to show; the answer is complete."""
        end = len(self._text) if self._find_stop() is None else self._find_stop()
        text = self._text[:end].rstrip() if not self.stopped else self._text[:end]
        if self._shorten is not None:
            shorter = self._shorten(text)
            self.cut, text = len(shorter) < len(text), shorter
        self._text = text
        return self._release(len(text))

    def restart(self) -> None:
        """Forget text that led up to a call: what follows is the answer."""
        self._text, self._shown, self.stopped = "", 0, False

    def finish(self, answer: Answer) -> Finish:
        """Why the answer ended."""
        if self.cut:
            return "length"
        return "stop" if self.stopped else answer.finish

    def _find_stop(self) -> int | None:
        found = [at for stop in self._stops if (at := self._text.find(stop)) >= 0]
        self.stopped = bool(found)
        return min(found, default=None)

    def _certain(self) -> int:
        """How many characters belong to the answer, whatever comes next."""
        if (at := self._find_stop()) is not None:
            return at
        end = len(self._text.rstrip())
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(self._text)), 0, -1):
                if self._text.endswith(stop[:length]):
                    end = min(end, len(self._text) - length)
                    break
        return end

    def _release(self, end: int) -> str:
        start, self._shown = self._shown, max(self._shown, end)
        return self._text[start : self._shown]


def shortener(model: Model, limit: int | None) -> Callable[[str], str] | None:
    """Cuts texts to `limit` tokens, where generation has to be allowed more than that."""
    if limit is None or limit >= CALL_TOKENS:
        return None

    def shorten(text: str) -> str:
        ids = model.tokenizer.encode(text)
        return text if len(ids) <= limit else model.tokenizer.decode(ids[:limit])

    return shorten
