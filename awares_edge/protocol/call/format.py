"""One way of writing a call for crops: rendered, recognised and read by the same object.

none      an answer
ok        a sentence of the grammar (`CallGrammar`) and nothing else
repaired  a call that can be understood, with something dropped or corrected
invalid   neither an answer nor a call: the marker without a crop, or pieces of a call
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Literal, TypeAlias

from awares_edge.errors import InputError
from awares_edge.protocol.call.grammar import CallGrammar
from awares_edge.protocol.crops import CROP_IDS, CROP_NAMES, WHOLE

CallStatus: TypeAlias = Literal["none", "ok", "repaired", "invalid"]

_LIST = re.compile(r"\s*:?\s*(?P<open>[\[(]?)[\s\[(]*(?P<items>[^\])]*)")
_BETWEEN_ITEMS = re.compile(r"""[,'"\[(]+""")
# A list of every crop by name, with room to spare. A longer reply is not a damaged call.
_LONGEST_DAMAGED = 200


@dataclass(frozen=True, slots=True)
class CropCall:
    """What a reply asks for.

    Attributes:
        status: see the module.
        ids: crop ids in the order asked for, without duplicates; empty unless ok or repaired.
    """

    status: CallStatus
    ids: tuple[str, ...] = ()


class CallFormat:
    """The call of one protocol profile: `GET_CROPS: ['0', '5']`.

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
        self.grammar = CallGrammar(self.marker, self.offered)
        marker = re.escape(self.marker)
        self._anywhere = re.compile(marker, re.IGNORECASE)
        self._word = re.compile(rf"(?<!\w){marker}(?!\w)", re.IGNORECASE)
        self._damaged = _damaged_call(self.marker)
        if not self.grammar.complete(self.render(self.offered[:1])):
            raise InputError(f"{self.render(self.offered[:1])!r} is not a call that can be read")

    def render(self, ids: Sequence[str]) -> str:
        """The trained form of a call for `ids`.

        Raises:
            ValueError: no ids, a duplicate, or an unknown one.
        """
        if not ids or len(set(ids)) != len(ids) or any(i not in CROP_NAMES for i in ids):
            raise ValueError(f"not a set of crop ids: {list(ids)}")
        return f"{self.opening}{', '.join(repr(i) for i in ids)}{self.closing}"

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
        """How many characters of `text` are part of an answer, whatever is generated next."""
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

    def parse(self, reply: str) -> CropCall:
        """Read the call in a complete reply.

        Read, and reported as "repaired": other case, brackets or white space, a missing bracket or
        quote, text around the call, duplicates, and crops that were not offered (left out).
        """
        if self.call_start(reply) is None:
            return CropCall("none")
        for after_marker in self._word.split(reply)[1:]:
            if ids := self._read(after_marker):
                complete = self.grammar.complete(reply.strip())
                return CropCall("ok" if complete else "repaired", ids)
        return CropCall("invalid")

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


@lru_cache(maxsize=16)
def call_format(opening: str, closing: str, offered: tuple[str, ...]) -> CallFormat:
    """The format with this fixed text, made once."""
    return CallFormat(opening, closing, offered)


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
    go_on = rf"""[{letters}\s\d:,'"\[\]()]|{"|".join(names)}"""
    return re.compile(rf"\s*(?:[{letters}\[]|(?:{begin})(?:{go_on})*(?:{'|'.join(prefixes)})?)")
