"""Greedy decoding of one turn, with the tool call under its grammar.

The fixed text of a call is appended in one step and checked: a draft token counts only where it is
what greedy decoding chooses there, otherwise the cache is rewound to the last one that was. So the
decisions are the model's own, and cost one step a decision instead of one a token.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import numpy as np

from awares_edge.controller.trace import TurnTrace
from awares_edge.errors import Cancelled, DeadlineExceeded, SessionError
from awares_edge.protocol.calls import CallTokens
from awares_edge.protocol.parsing import CALL_MARKER
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer
from awares_edge.runtimes.base import Logits, Session, TextSegment


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop, whatever the model wants.

    Attributes:
        max_new_tokens: most tokens of one turn.
        deadline: `time.monotonic()` at which to give up; None for never.
        cancel: give up as soon as this is set.
    """

    max_new_tokens: int = 512
    deadline: float | None = None
    cancel: threading.Event | None = None

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
    """

    ids: tuple[int, ...]
    text: str
    ended: bool = False
    end_cached: bool = False
    uncached: tuple[int, ...] = ()
    call_barred: bool = False


class _Draft:
    """A turn while it is being generated."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.ids: list[int] = []
        self.text = ""
        self.ended = False
        self._held = ""
        self._stream = tokenizer.stream()

    def add(self, token: int) -> None:
        self.ids.append(token)
        piece = "".join(self._stream.feed([token]))
        self.text += piece
        self._held += piece

    @property
    def in_call(self) -> bool:
        return self.text.startswith(CALL_MARKER)

    def release(self, *, last: bool = False) -> str:
        """Text that may be shown: none of it while it can still become a call."""
        if self.in_call or (CALL_MARKER.startswith(self.text) and not last):
            return ""
        held, self._held = self._held, ""
        return held


class TurnDecoder:
    """Decodes the turns of one session.

    Args:
        draft: whether to append a call's fixed text in one step.
        constrain: whether to hold a call to its grammar once it has begun.
    """

    def __init__(
        self,
        session: Session,
        tokenizer: TextTokenizer,
        special: SpecialTokens,
        call: CallTokens,
        *,
        draft: bool = True,
        constrain: bool = True,
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._special = special
        self._call = call
        self._draft = draft
        self._constrain = constrain

    def run(
        self,
        logits: Logits,
        limits: Limits,
        trace: TurnTrace,
        *,
        allow_call: bool,
        barred: frozenset[int] = frozenset(),
    ) -> Iterator[str | Generated]:
        """Generate until the model stops or a limit does.

        Args:
            logits: float32 [vocabulary] after the prompt.
            allow_call: whether the model may call for crops. Where it may not, a call is taken
                back as soon as it is one, and its first token is barred.
            barred: tokens that may not come first.

        Yields:
            pieces of text that cannot be part of a call, and last the `Generated`.
        """
        start, first = self._session.mark(), logits
        turn, taken_back = _Draft(self._tokenizer), False
        uncached: tuple[int, ...] = ()
        while not turn.ended:
            limits.check(turn.text)
            token = self._choose(logits, turn, barred)
            if token in self._special.eos:
                break
            turn.add(token)
            if turn.in_call and not allow_call:
                trace.discarded_tokens += self._session.cells - start.cells
                self._session.rewind(start)
                barred, taken_back = barred | {turn.ids[0]}, True
                logits, turn = first, _Draft(self._tokenizer)
                continue
            if piece := turn.release():
                yield piece
            room = self._session.context - self._session.cells
            if len(turn.ids) >= limits.max_new_tokens or room < 1:
                uncached = (token,)
                break
            with trace.time("decode"):
                draft = self._expected(turn) if allow_call else ()
                room = min(room - 1, limits.max_new_tokens - len(turn.ids))
                logits = self._step(token, draft[:room], turn, trace)
        if piece := turn.release(last=True):
            yield piece
        ended = not uncached
        trace.decode_tokens += len(turn.ids) + ended
        text = self._tokenizer.decode(turn.ids)
        yield Generated(tuple(turn.ids), text, ended, turn.ended, uncached, taken_back)

    def _expected(self, turn: _Draft) -> tuple[int, ...]:
        return self._call.draft(turn.ids, turn.text) if self._draft else ()

    def _step(self, token: int, draft: tuple[int, ...], turn: _Draft, trace: TurnTrace) -> Logits:
        """Append `token` and as much of `draft` as the model agrees with; the next logits."""
        if not draft:
            return self._session.decode(token)
        before = self._session.mark()
        rows = self._session.prefill([TextSegment((token, *draft))], keep_logits=len(draft) + 1)
        accepted = 0
        for row, drafted in zip(rows, draft, strict=False):
            if self._choose(row, turn, frozenset()) != drafted:
                break
            accepted += 1
            if drafted in self._special.eos:
                turn.ended = True
            else:
                turn.add(drafted)
        if accepted < len(draft):
            trace.discarded_tokens += len(draft) - accepted
            self._session.rewind(before.after_text(1 + accepted))
        last: Logits = rows[accepted]
        return last

    def _choose(self, logits: Logits, turn: _Draft, barred: frozenset[int]) -> int:
        """The most likely token that is allowed here."""
        token = int(logits.argmax())
        if not np.isfinite(logits[token]):
            raise SessionError(
                "the model gave no finite logits: its weights are damaged, or fp16 overflowed; "
                "export it in fp32"
            )
        if turn.in_call and self._constrain:
            return next(t for t in _descending(logits, token) if self._continues_call(t, turn))
        if not turn.ids and barred:
            return next(t for t in _descending(logits, token) if t not in barred)
        return token

    def _continues_call(self, token: int, turn: _Draft) -> bool:
        if token in self._special.eos:
            return self._call.grammar.complete(turn.text)
        text = self._tokenizer.decode([*turn.ids, token])
        return len(text) > len(turn.text) and self._call.grammar.viable(text)


def _descending(logits: Logits, best: int) -> Iterator[int]:
    """Tokens from the most to the least likely; sorting is put off until it is needed."""
    yield best
    yield from (int(t) for t in np.argsort(-logits, kind="stable") if t != best)
