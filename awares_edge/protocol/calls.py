"""The tool call as tokens: its fixed text, which needs no decision of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from awares_edge.protocol.grammar import CallGrammar
from awares_edge.protocol.parsing import CropCall, parse_call
from awares_edge.protocol.profiles import ProtocolProfile
from awares_edge.protocol.tokenizer import SpecialTokens, TextTokenizer


@dataclass(frozen=True, slots=True)
class CallTokens:
    """Fixed tokens of a call in its trained form.

    Attributes:
        opening: what every call begins with, up to its first decision.
        closing: what ends a call after its last crop, `<|im_end|>` included.
        grammar: which texts are calls.
        offered: crop ids that may be called for.
    """

    opening: tuple[int, ...]
    closing: tuple[int, ...]
    grammar: CallGrammar
    offered: tuple[str, ...]

    @classmethod
    def build(
        cls, tokenizer: TextTokenizer, special: SpecialTokens, profile: ProtocolProfile
    ) -> CallTokens:
        """Tokenise a call for each offered crop and keep what they share."""
        calls = [
            tokenizer.encode(f"{profile.call_opening}'{i}'{profile.call_closing}")
            for i in profile.crop_ids
        ]
        opening = _common_prefix(calls)
        closing = _common_prefix([call[len(opening) :][::-1] for call in calls])[::-1]
        grammar = CallGrammar(profile.crop_ids)
        return cls(opening, (*closing, special.im_end), grammar, profile.crop_ids)

    def parse(self, text: str) -> CropCall:
        return parse_call(text, self.offered)

    def draft(self, ids: Sequence[int], text: str) -> tuple[int, ...]:
        """Tokens that the grammar expects after the generated `ids` (their text is `text`).

        Empty where the next token is the model's own decision.
        """
        if ids and len(ids) < len(self.opening) and tuple(ids) == self.opening[: len(ids)]:
            return self.opening[len(ids) :]
        if self.grammar.at_crop_end(text):
            return self.closing
        return ()


def _common_prefix(sequences: Sequence[Sequence[int]]) -> tuple[int, ...]:
    columns = zip(*sequences, strict=False)
    return tuple(column[0] for column in takewhile(lambda c: len(set(c)) == 1, columns))
