"""Greedy decoding of one turn, with the tool call under its grammar.

The fixed text of a call is appended in one step and checked: a draft token counts only where it is
what greedy decoding chooses there, otherwise the cache is rewound to the last one that was. So the
decisions are the model's own, and cost one step a decision instead of one a token.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from numpy.typing import NDArray

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


@dataclass(slots=True)
class Generated:
    """What one turn generated.

    Attributes:
        ids: generated tokens, without the end token.
        text: their text.
        ended: whether the model ended it (False: a limit did).
        cached: whether the end token is in the cache already (it is after a drafted call).
        uncached: last generated tokens that are not in the cache yet.
        call_barred: whether a call was taken back because none was allowed.
    """

    ids: list[int] = field(default_factory=list)
    text: str = ""
    ended: bool = False
    cached: bool = False
    uncached: tuple[int, ...] = ()
    call_barred: bool = False


class TurnDecoder:
    """Decodes the turns of one session."""

    def __init__(
        self,
        session: Session,
        tokenizer: TextTokenizer,
        special: SpecialTokens,
        call: CallTokens,
        *,
        draft: bool = True,
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._special = special
        self._call = call
        self._draft = draft

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
        stream, held = self._tokenizer.stream(), ""
        out = Generated()
        while True:
            limits.check(out.text)
            token = self._choose(logits, out, barred)
            if token in self._special.eos:
                out.ended = True
                break
            out.ids.append(token)
            held += "".join(stream.feed([token]))
            out.text = self._tokenizer.decode(out.ids)
            if out.text.startswith(CALL_MARKER) and not allow_call:
                trace.discarded_tokens += self._session.cells - start.cells
                self._session.rewind(start)
                barred |= {out.ids[0]}
                logits, out = first, Generated(call_barred=True)
                stream, held = self._tokenizer.stream(), ""
                continue
            if held and not CALL_MARKER.startswith(held) and not held.startswith(CALL_MARKER):
                yield held
                held = ""
            if (
                len(out.ids) >= limits.max_new_tokens
                or self._session.cells >= self._session.context
            ):
                out.uncached = (token,)
                break
            with trace.time("decode"):
                draft = self._call.draft(out.ids, out.text) if allow_call and self._draft else ()
                room = self._session.context - self._session.cells - 1
                logits = self._step(token, draft[:room], out, trace)
            if out.ended:
                break
        if held and not held.startswith(CALL_MARKER):
            yield held
        trace.decode_tokens += len(out.ids) + out.ended
        yield out

    def _step(self, token: int, draft: tuple[int, ...], out: Generated, trace: TurnTrace) -> Logits:
        """Append `token` and as much of `draft` as the model agrees with; the next logits."""
        if not draft:
            return self._session.decode(token)
        before = self._session.mark()
        rows = self._session.prefill([TextSegment((token, *draft))], keep_logits=len(draft) + 1)
        accepted = 0
        for row, drafted in zip(rows, draft, strict=False):
            if self._choose(row, out, frozenset()) != drafted:
                break
            accepted += 1
            if drafted in self._special.eos:
                out.ended = out.cached = True
            else:
                out.ids.append(drafted)
                out.text = self._tokenizer.decode(out.ids)
        if accepted < len(draft):
            trace.discarded_tokens += len(draft) - accepted
            self._session.rewind(before.after_text(1 + accepted))
        last: Logits = rows[accepted]
        return last

    def _choose(self, logits: Logits, out: Generated, barred: frozenset[int]) -> int:
        """The most likely token that is allowed here."""
        token = int(logits.argmax())
        if not np.isfinite(logits[token]):
            raise SessionError(
                "the model gave no finite logits: its weights are damaged, or fp16 overflowed; "
                "export it in fp32"
            )
        if out.text.startswith(CALL_MARKER):
            return next(t for t in _descending(logits, token) if self._continues_call(t, out))
        if not out.ids and barred:
            return next(t for t in _descending(logits, token) if t not in barred)
        return token

    def _continues_call(self, token: int, out: Generated) -> bool:
        if token in self._special.eos:
            return self._call.grammar.complete(out.text)
        text = self._tokenizer.decode([*out.ids, token])
        return len(text) > len(out.text) and self._call.grammar.viable(text)


def _descending(logits: NDArray[np.float32], best: int) -> Iterator[int]:
    """Tokens from the most to the least likely; sorting is put off until it is needed."""
    yield best
    yield from (int(t) for t in np.argsort(-logits, kind="stable") if t != best)
