"""A call as tokens: its fixed text, which the model does not decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from awares_edge.protocol.call.base import CallSyntax
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer


@dataclass(frozen=True, slots=True)
class CallTokens:
    """The fixed tokens of a call in its trained form.

    Attributes:
        syntax: how the call is written.
        opening: what every call begins with, up to its first decision.
    """

    syntax: CallSyntax
    opening: tuple[int, ...]
    _tokenizer: TextTokenizer
    _end: int

    @classmethod
    def build(
        cls, tokenizer: TextTokenizer, special: SpecialTokens, call: CallSyntax
    ) -> CallTokens:
        """Tokenise examples of a call and keep what they begin with."""
        opening = _common_prefix([tokenizer.encode(text) for text in call.examples()])
        return cls(call, opening, tokenizer, special.im_end)

    def fixed_after(self, ids: Sequence[int], text: str) -> tuple[int, ...]:
        """The fixed tokens that follow the generated `ids`, whose text is `text`.

        Empty where the next token is the model's own decision.
        """
        for begun in range(min(len(ids), len(self.opening) - 1), 0, -1):
            if tuple(ids[-begun:]) == self.opening[:begun]:
                return self.opening[begun:]
        start = self.syntax.find(text)
        rest = "" if start is None else self.syntax.fixed_rest(text[start:])
        return (*self._tokenizer.encode(rest), self._end) if rest else ()


def _common_prefix(sequences: Sequence[Sequence[int]]) -> tuple[int, ...]:
    columns = zip(*sequences, strict=False)
    return tuple(column[0] for column in takewhile(lambda c: len(set(c)) == 1, columns))
