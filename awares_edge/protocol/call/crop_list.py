"""Calls for crops of the fixed set: `GET_CROPS: ['0', '5']`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from awares_edge.errors import InputError
from awares_edge.protocol.call.base import Call, Request
from awares_edge.protocol.call.crop_grammar import CropGrammar
from awares_edge.protocol.crops import CROP_IDS, CROP_NAMES, WHOLE

_LIST = re.compile(r"\s*:?\s*(?P<open>[\[(]?)[\s\[(]*(?P<items>[^\])]*)")
_BETWEEN_ITEMS = re.compile(r"""[,'"\[(]+""")
# A list of every crop by name, with room to spare. A longer reply is not a damaged call.
_LONGEST_DAMAGED = 200


class CropListCall:
    """A list of crop ids after a word.

    Where a call begins is defined here, once, for the decoder, the grammar and the parser: at the
    marker (the word that opens the call, in any case), with the white space before it if nothing
    else comes before it. `find` wants the marker as a word of its own. `first_sign` takes it
    anywhere, with pieces of another marker before it.

    Args:
        opening, closing: fixed text around the ids.
        offered: ids of the crops that may be called for.

    Raises:
        InputError: these do not make a call that can be read back.
    """

    def __init__(self, opening: str, closing: str, offered: Sequence[str]) -> None:
        word = re.match(r"\w+", opening)
        if word is None or not offered or any(i not in CROP_NAMES for i in offered):
            raise InputError(
                f"a call must begin with a word and offer known crops: {opening!r}, {list(offered)}"
            )
        self.opening, self.closing, self.offered = opening, closing, tuple(offered)
        self.marker = word[0]
        self.grammar = CropGrammar(self.marker, self.offered)
        marker = re.escape(self.marker)
        self._anywhere = re.compile(marker, re.IGNORECASE)
        self._word = re.compile(rf"(?<!\w){marker}(?!\w)", re.IGNORECASE)
        self._damaged = _damaged_call(self.marker)
        if not self.grammar.complete(self.render(self.offered[:1])):
            raise InputError(f"{self.render(self.offered[:1])!r} is not a call that can be read")

    def render(self, ids: Sequence[str]) -> str:
        """The trained form of a call for `ids`.

        Raises:
            InputError: no ids, a duplicate, or an unknown one.
        """
        if not ids or len(set(ids)) != len(ids) or any(i not in CROP_NAMES for i in ids):
            offered = ", ".join(self.offered)
            raise InputError(f"not a set of crop ids: {list(ids)}: choose from {offered}")
        return f"{self.opening}{', '.join(repr(i) for i in ids)}{self.closing}"

    def examples(self) -> Sequence[str]:
        return [self.render([crop_id]) for crop_id in self.offered]

    def fixed_rest(self, text: str) -> str:
        return f"'{self.closing}" if self.grammar.at_crop_end(text) else ""

    def find(self, text: str) -> int | None:
        """Where the first call in `text` begins; None where there is none."""
        match = self._word.search(text)
        if match is None:
            return None
        return match.start() if text[: match.start()].strip() else 0

    def first_sign(self, text: str) -> int | None:
        """Where `text` stops being an answer: at the marker, even inside a word; or None."""
        match = self._anywhere.search(text)
        return None if match is None else self._unless_damaged(text, match.start())

    def call_start(self, reply: str) -> int | None:
        """Where a complete reply stops being an answer: at the marker or a damaged call."""
        at = self.first_sign(reply)
        return 0 if at is None and self._is_damaged(reply) else at

    def certain(self, text: str) -> int:
        """How many characters of `text` are part of an answer, however it continues."""
        at = self.first_sign(text)
        if at is not None:
            return at
        if self._may_be_damaged(text):
            return 0
        marker = self.marker.casefold()
        for length in range(min(len(text), len(marker) - 1), 0, -1):
            if text[-length:].casefold() == marker[:length]:
                return self._unless_damaged(text, len(text) - length)
        return len(text)

    def parse(self, reply: str) -> Call:
        """Read the call in a complete reply.

        Read, and reported as "repaired": other case, brackets or white space, a missing bracket or
        quote, text around the call, duplicates, and crops that were not offered (left out).
        """
        if self.call_start(reply) is None:
            return Call("none")
        for after_marker in self._word.split(reply)[1:]:
            if ids := self._read(after_marker):
                complete = self.grammar.complete(reply.strip())
                return Call("ok" if complete else "repaired", tuple(Request(i) for i in ids))
        return Call("invalid", problem="the call names no crop that is offered")

    def _read(self, text: str) -> tuple[str, ...]:
        """The crops that are listed where `text` begins."""
        match = _LIST.match(text)
        assert match is not None
        items = [item for item in _BETWEEN_ITEMS.split(match["items"]) if item.strip()]
        groups = [[i for i in _crop_ids(item) if i in self.offered] for item in items]
        # Without a bracket the list ends at the first word that is not a crop.
        known = groups if match["open"] else takewhile(bool, groups)
        ids = tuple(dict.fromkeys(i for group in known for i in group))
        # The whole picture contains every other crop.
        return (WHOLE,) if WHOLE in ids else ids

    def _unless_damaged(self, text: str, at: int) -> int:
        return 0 if self._may_be_damaged(text[:at]) else at

    def _may_be_damaged(self, text: str) -> bool:
        """Whether `text` is empty, or may become a damaged call."""
        if not text.strip():
            return True
        return len(text) <= _LONGEST_DAMAGED and self._damaged.fullmatch(text) is not None

    def _is_damaged(self, reply: str) -> bool:
        return ("[" in reply or "]" in reply) and self._may_be_damaged(reply)


def _crop_ids(item: str) -> Iterator[str]:
    """Ids in one item of a list; `05` is read digit by digit, as both published parsers do."""
    if (digits := "".join(item.split())).isdecimal():
        yield from digits
    else:
        name = "-".join(item.casefold().replace("_", " ").split())
        yield CROP_IDS.get(name, name)


def _damaged_call(marker: str) -> re.Pattern[str]:
    """Replies that are, or can become, pieces of a call and nothing else: `GET2']`, `['3']`."""
    lengths = range(len(marker), 1, -1)
    pieces = [marker[i : i + n] for n in lengths for i in range(len(marker) - n + 1)]
    names = sorted(CROP_NAMES.values(), key=len, reverse=True)
    prefixes = sorted({n[:end] for n in names for end in range(1, len(n))}, key=len, reverse=True)
    letters = re.escape("".join(sorted(set(marker))))
    begin = "|".join(["\\[['\"]", *map(re.escape, dict.fromkeys(pieces))])
    # A name of only these letters would make two ways to read a text, and thousands to read two.
    words = [name for name in names if not set(name) <= set(marker)]
    go_on = "|".join([rf"""[{letters}\s\d:,'"\[\]()]""", *words])
    return re.compile(rf"\s*(?:[{letters}\[]|(?:{begin})(?:{go_on})*(?:{'|'.join(prefixes)})?)")
