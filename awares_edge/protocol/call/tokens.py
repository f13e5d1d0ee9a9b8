"""A call as tokens: its fixed text, which the model does not decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from awares_edge.protocol.call.format import CallFormat
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer


@dataclass(frozen=True, slots=True)
class CallTokens:
    """The fixed tokens of a call in its trained form.

    Attributes:
        format: how the call is written.
        opening: what every call begins with, up to its first decision.
        closing: what ends a call after its last crop, `<|im_end|>` included.
    """

    format: CallFormat
    opening: tuple[int, ...]
    closing: tuple[int, ...]

    @classmethod
    def build(
        cls, tokenizer: TextTokenizer, special: SpecialTokens, call: CallFormat
    ) -> CallTokens:
        """Tokenise a call for each offered crop and keep what they share."""
        calls = [tokenizer.encode(call.render([crop_id])) for crop_id in call.offered]
        opening = _common_prefix(calls)
        closing = _common_prefix([ids[len(opening) :][::-1] for ids in calls])[::-1]
        return cls(call, opening, (*closing, special.im_end))

    def fixed_after(self, ids: Sequence[int], text: str) -> tuple[int, ...]:
        """The fixed tokens that follow the generated `ids`, whose text is `text`.

        Empty where the next token is the model's own decision.
        """
        if ids and len(ids) < len(self.opening) and tuple(ids) == self.opening[: len(ids)]:
            return self.opening[len(ids) :]
        start = self.format.find(text)
        if start is not None and self.format.grammar.at_crop_end(text[start:]):
            return self.closing
        return ()


def _common_prefix(sequences: Sequence[Sequence[int]]) -> tuple[int, ...]:
    columns = zip(*sequences, strict=False)
    return tuple(column[0] for column in takewhile(lambda c: len(set(c)) == 1, columns))
