"""Greedy decoding of one turn, with a call held to its grammar.

The fixed text of a call is appended in one step and checked: a drafted token counts only where it
is what greedy decoding chooses there; otherwise the cache is rewound to the last one that was. So
the decisions are the model's own, and cost one step a decision instead of one a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, takewhile

import numpy as np

from awares_edge.controller.confidence import TokenScores
from awares_edge.controller.decision import Decision
from awares_edge.controller.generated import Generated, Limits
from awares_edge.controller.grammar import AnswerGrammar
from awares_edge.controller.reply import Reply
from awares_edge.controller.trace import TurnTrace
from awares_edge.errors import SessionError
from awares_edge.protocol.call import CallTokens
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer
from awares_edge.runtimes.base import Logits, Session, TextSegment

_MOST_CANDIDATES = 4096
"""How many of the likeliest tokens are tried before a reply is left to break its form."""

OTHER_TAGS = ("<think>", "<answer>")
"""Tags that a model may write instead of a call; what they share with its start is not barred."""


class TurnDecoder:
    """Decodes one turn.

    Args:
        session: its cache ends where the turn begins.
        logits: float32 [vocabulary] of what follows.
        decision: the bias of the first token; None for none.
        trace: where tokens and times of the turn are counted.
        stop: texts that end the turn, as the end token does.
        use_drafts: whether to append a call's fixed text in one step.
        constrain: whether to hold a call to its grammar once it has begun.
        grammar: what an answer is held to; None for free text.
    """

    def __init__(
        self,
        session: Session,
        tokenizer: TextTokenizer,
        special: SpecialTokens,
        call: CallTokens,
        *,
        logits: Logits,
        decision: Decision | None = None,
        limits: Limits,
        trace: TurnTrace,
        stop: tuple[str, ...] = (),
        use_drafts: bool = True,
        constrain: bool = True,
        grammar: AnswerGrammar | None = None,
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._special = special
        self._call = call
        self._limits = limits
        self._trace = trace
        self._stop = stop
        self._use_drafts = use_drafts
        self._constrain = constrain
        marker = call.syntax.marker
        self._shared = max(common_prefix(marker, tag) for tag in OTHER_TAGS)
        self._grammar = grammar
        self._start = session.mark()
        self._logits = logits
        self._decision = decision
        self._reply = Reply(tokenizer, call.syntax, logits)
        self._counted = 0
        self._uncached: tuple[int, ...] = ()
        self._scores = TokenScores()

    def run(self, *, allow_call: bool) -> Iterator[str | Generated]:
        """Generate until the model stops or a limit does.

        Args:
            allow_call: whether the model may call for crops. Where it may not, a call is taken
                back, and the token that began it is barred there.

        Yields:
            pieces of text that are not part of a call, and last the `Generated`.
        """
        reply, barred = self._reply, False
        while True:
            yield from self._generate(allow_call)
            call_start = reply.call_start()
            if allow_call or call_start is None:
                break
            self._take_back(call_start)
            barred = True
        if call_start is None and (piece := reply.release(last=True)):
            yield piece
        yield self._generated(call_barred=barred)

    def run_without_call(self) -> Iterator[str | Generated]:
        """Take back the call that `run` ended with, and go on as if none were allowed.

        A reply without a call stays as it is.
        """
        reply = self._reply
        call_start = reply.call_start()
        if call_start is not None:
            self._take_back(call_start)
        elif reply.ids or reply.ended:
            return iter([self._generated(call_barred=False)])
        return self.run(allow_call=False)

    def _generated(self, *, call_barred: bool) -> Generated:
        reply = self._reply
        count = len(reply.ids) + reply.ended
        self._trace.decode_tokens += count - self._counted
        self._counted = count
        return Generated(
            tuple(reply.ids),
            self._tokenizer.decode(reply.ids),
            ended=reply.ended,
            end_cached=reply.end_cached,
            uncached=self._uncached,
            call_barred=call_barred,
            stopped=not reply.ended and self._stopped(),
            scores=self._scores.first(count),
        )

    def _generate(self, allow_call: bool) -> Iterator[str]:
        """Generate to the end, or to the first sign of a call that is not allowed."""
        reply = self._reply
        while not reply.ended:
            self._limits.check(reply.text)
            token, among = self._choose(self._logits)
            self._scores.note(len(reply.ids), token, among)
            if token in self._special.eos:
                reply.ended = True
                return
            reply.add(token)
            self._uncached = (token,)
            if not allow_call and self._call.syntax.first_sign(reply.text) is not None:
                return
            if piece := reply.release():
                yield piece
            if self._stopped():
                return
            room = self._session.context - self._session.cells
            if len(reply.ids) >= self._limits.max_new_tokens or room < 1:
                return
            with self._trace.time("decode"):
                draft = self._draft() if allow_call else ()
                room = min(room - 1, self._limits.max_new_tokens - len(reply.ids))
                self._logits = self._step(token, draft[:room])
            self._uncached = ()
            # A draft may end with a stop string too.
            if draft and not reply.ended and self._stopped():
                if piece := reply.release():
                    yield piece
                return

    def _stopped(self) -> bool:
        return bool(self._stop) and self._reply.text.rstrip().endswith(self._stop)

    def _draft(self) -> tuple[int, ...]:
        if not self._use_drafts:
            return ()
        return self._call.fixed_after(self._reply.ids, self._reply.text)

    def _step(self, token: int, draft: tuple[int, ...]) -> Logits:
        """Append `token` and as much of `draft` as the model agrees with; the next logits."""
        reply = self._reply
        if not draft:
            logits = self._session.decode(token)
            reply.followed_by(logits)
            return logits
        before = self._session.mark()
        rows = self._session.prefill([TextSegment((token, *draft))], keep_logits=len(draft) + 1)
        reply.followed_by(rows[0])
        accepted = 0
        for row, drafted in zip(rows, draft, strict=False):
            token, among = self._choose(row)
            if token != drafted:
                break
            accepted += 1
            self._scores.note(len(reply.ids), drafted, among)
            if drafted in self._special.eos:
                reply.ended = reply.end_cached = True
            else:
                reply.add(drafted)
                reply.followed_by(rows[accepted])
        if accepted < len(draft):
            self._trace.discarded_tokens += len(draft) - accepted
            self._session.rewind(before.after_text(1 + accepted))
        last: Logits = rows[accepted]
        return last

    def _take_back(self, character: int) -> None:
        place = self._reply.go_back(character + self._shared)
        target = self._start.after_text(place.token)
        self._trace.discarded_tokens += self._session.cells - target.cells
        self._session.rewind(target)
        self._logits = place.logits
        self._uncached = ()
        self._counted = min(self._counted, place.token)

    def _choose(self, own: Logits) -> tuple[int, Logits]:
        """The most likely token that is allowed here, and the logits that it is scored by.

        Those are the model's own, before a bias, so that an answer in place of a call that the
        model preferred is unlikely; of a grammar's tokens they are those that it allows.
        """
        at_first = self._decision is not None and not self._reply.ids
        logits = self._decision.biased(own) if self._decision and at_first else own
        token = int(logits.argmax())
        if not np.isfinite(logits[token]):
            raise SessionError(
                "the model gave no finite logits: its weights are damaged, or fp16 overflowed; "
                "export it in fp32"
            )
        barred = self._reply.barred()
        if self._grammar is not None and not self._in_call(self._reply.text):
            return self._choose_answer(self._grammar, logits, token, barred)
        if barred:
            token = next((t for t in _descending(logits, token) if t not in barred), token)
        elif self._constrain and self._must_change(token):
            token = _likeliest(logits, token, self._continues_call)
        return token, own

    def _choose_answer(
        self, grammar: AnswerGrammar, logits: Logits, token: int, barred: set[int]
    ) -> tuple[int, Logits]:
        """The most likely token of the grammar, unless the model goes for a call."""
        if token not in barred and self._opens_call(token):
            return token, logits
        allowed = grammar.allowed(self._reply.ids)
        allowed[list(barred)] = False
        if allowed.any():
            held = np.where(allowed, logits, np.float32(-np.inf))
            return int(held.argmax()), held
        # The reply began as a call, so it cannot become an answer: keep to the call.
        kept = _likeliest(logits, token, lambda t: t not in barred and self._opens_call(t))
        return kept, logits

    def _opens_call(self, token: int) -> bool:
        """Whether the reply is empty or begins a call, and still does so with `token`."""
        if token in self._special.eos:
            return False
        longer = self._tokenizer.decode([*self._reply.ids, token])
        begins = len(longer) > len(self._reply.text) and bool(longer.strip())
        return begins and self._call.syntax.grammar.viable(longer)

    def _must_change(self, token: int) -> bool:
        """Whether a call has begun and `token` would leave its grammar."""
        if not self._in_call(self._reply.text):
            return False
        return not self._continues_call(token) and not self._leaves_call(token)

    def _in_call(self, text: str) -> bool:
        start = self._call.syntax.find(text)
        return start is not None and self._call.syntax.grammar.viable(text[start:])

    def _leaves_call(self, token: int) -> bool:
        """Whether `token` makes another word of the marker: `GET_CROPS_NOW` is not a call."""
        if token in self._special.eos:
            return False
        return self._call.syntax.find(self._reply.with_token(token)) is None

    def _continues_call(self, token: int) -> bool:
        text = self._reply.text
        if token in self._special.eos:
            start = self._call.syntax.find(text) or 0
            return self._call.syntax.grammar.complete(text[start:])
        longer = self._reply.with_token(token)
        return len(longer) > len(text) and self._in_call(longer)


def _descending(logits: Logits, best: int) -> Iterator[int]:
    """Tokens from the most to the least likely; sorting is put off until it is needed."""
    yield best
    yield from (int(t) for t in np.argsort(-logits, kind="stable") if t != best)


def _likeliest(logits: Logits, best: int, admits: Callable[[int], bool]) -> int:
    """The likeliest token that is admitted; `best` where none of the first candidates is."""
    likely = islice(_descending(logits, best), _MOST_CANDIDATES)
    return next((token for token in likely if admits(token)), best)


def common_prefix(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
