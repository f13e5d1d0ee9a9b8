"""The grammar of a call, one character at a time, for constrained decoding.

call  = white space, marker, [":"], [" "], "[", item, { ",", [" "], item }, "]"
item  = "'" crop "'" | '"' crop '"' | crop
crop  = id or name that was offered and not yet used; `all` must be the only item
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from awares_edge.protocol.crops import CROP_NAMES, WHOLE


@dataclass(frozen=True, slots=True)
class _State:
    where: Literal[
        "start", "marker", "colon", "space", "bracket", "gap", "item", "crop", "after", "end"
    ]
    partial: str = ""
    quote: str = ""
    used: tuple[str, ...] = ()


class CropGrammar:
    """Which texts are, or can become, a call with the offered crops.

    Args:
        marker: the word that opens the call.
        offered: ids of the crops that may be called for.
    """

    def __init__(self, marker: str, offered: Sequence[str]) -> None:
        self._marker = marker
        self._crops = {text: i for i in offered for text in (i, CROP_NAMES[i])}

    def viable(self, text: str) -> bool:
        """Can `text` still become a call (or is it one already)?"""
        return self._run(text) is not None

    def complete(self, text: str) -> bool:
        """Is `text` a call, to the last character?"""
        state = self._run(text)
        return state is not None and state.where == "end"

    def at_crop_end(self, text: str) -> bool:
        """Whether `text` ends with a quoted crop that lacks its closing quote."""
        state = self._run(text)
        return (
            state is not None
            and state.where == "crop"
            and bool(state.quote)
            and state.partial in self._crops
        )

    def _run(self, text: str) -> _State | None:
        state: _State | None = _State("start")
        for character in text:
            if state is None:
                return None
            state = self._step(state, character)
        return state

    def _step(self, s: _State, c: str) -> _State | None:
        if s.where in ("start", "marker"):
            return self._open(s, c)
        if s.where in ("colon", "space", "bracket"):
            if c == "[":
                return _State("item")
            if c == ":" and s.where == "colon":
                return _State("space")
            return _State("bracket") if c == " " and s.where != "bracket" else None
        if s.where == "gap" and c == " ":
            return replace(s, where="item")
        if s.where in ("gap", "item"):
            if c in "'\"":
                return replace(s, where="crop", quote=c)
            return self._extend(replace(s, where="crop", quote=""), c)
        if s.where == "crop":
            if s.quote and c == s.quote:
                return self._close(s)
            if not s.quote and c in ",]":
                closed = self._close(s)
                return self._step(closed, c) if closed else None
            return self._extend(s, c)
        if s.where == "after":
            if c == "]":
                return replace(s, where="end")
            room = WHOLE not in s.used and any(self._free(s, text) for text in self._crops)
            return replace(s, where="gap") if c == "," and room else None
        return None

    def _open(self, s: _State, c: str) -> _State | None:
        if s.where == "start" and c.isspace():
            return s
        partial = s.partial + c
        if not self._marker.startswith(partial):
            return None
        return _State("colon") if partial == self._marker else _State("marker", partial)

    def _free(self, s: _State, text: str) -> bool:
        crop_id = self._crops[text]
        return crop_id not in s.used and not (crop_id == WHOLE and s.used)

    def _extend(self, s: _State, c: str) -> _State | None:
        partial = s.partial + c
        if any(text.startswith(partial) and self._free(s, text) for text in self._crops):
            return replace(s, partial=partial)
        return None

    def _close(self, s: _State) -> _State | None:
        if s.partial not in self._crops or not self._free(s, s.partial):
            return None
        return _State("after", used=(*s.used, self._crops[s.partial]))
