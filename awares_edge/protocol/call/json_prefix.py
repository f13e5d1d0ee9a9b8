"""Whether a text can still become a JSON object that calls a tool, for constrained decoding.

It agrees with the parser (`tagged.py`): whatever the parser reads as a call is admitted character
by character, and what a call cannot contain is refused at once, so that decoding never ends in a
corner.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from awares_edge.errors import AwaresError
from awares_edge.protocol.call.tool import Tool

MAX_DEPTH = 8
"""Most lists and objects inside each other in a call."""
MAX_NUMBER = 1e9
"""What the numbers of a box must be below."""

_CHARACTERS = r'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*'
_STRING = re.compile(f'"{_CHARACTERS}"')
_OPEN_STRING = re.compile(rf'"{_CHARACTERS}(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?')
_OPEN_SINGLE = re.compile(r"'[^'\"\\\x00-\x1f]*")
_SINGLE = re.compile(rf"{_OPEN_SINGLE.pattern}'")
_WHOLE = r"(?:0|[1-9][0-9]*)"
_NUMBER = re.compile(rf"-?{_WHOLE}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_OPEN_NUMBER = re.compile(rf"-?(?:{_WHOLE}(?:\.(?:[0-9]+(?:[eE][-+]?[0-9]*)?)?|[eE][-+]?[0-9]*)?)?")
# As Python also writes them: `.5`, `5.`, `+5`.
PYTHON_NUMBER = rf"[-+]?(?:{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_PYTHON_NUMBER = re.compile(PYTHON_NUMBER)
_OPEN_PYTHON_NUMBER = re.compile(
    rf"[-+]?(?:(?:{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]*)?|\.)?"
)
_INTEGER = re.compile(rf"-?{_WHOLE}")
# Texts that can still become such a number.
_OPEN = {
    _NUMBER: _OPEN_NUMBER,
    _PYTHON_NUMBER: _OPEN_PYTHON_NUMBER,
    _INTEGER: re.compile(rf"-?{_WHOLE}?"),
}
_GROWS = re.compile(r"([^eE]+)[eE](\+[0-9]*|[0-9]+)")
_WORDS = ("true", "false", "null")


class _Cut(AwaresError):
    """The text ends inside the object, and can become a valid one."""


class _Wrong(AwaresError):
    """The text cannot become the object."""


def could_be_object(body: str, tool: Tool, complete: Callable[[str], bool]) -> bool:
    """Whether a body can still become a call.

    Args:
        body: the text behind the opening tag.
        complete: whether a whole body is a call; asked once the object is closed.
    """
    if tool.spelled and not (body.startswith(tool.spelled[0]) or tool.spelled[0].startswith(body)):
        return False
    text = body.lstrip()
    if not text:
        return not (tool.spelled and body)
    if not text.startswith("{") and not tool.whole_body:
        # Text before the object (a fence, say): the published parser looks past it.
        return not one_line_objects(body) or complete(body)
    try:
        end = _Reader(text, tool).object((), 0)
    except _Cut:
        return True
    except _Wrong:
        return False
    return (not tool.whole_body or not text[end:].strip()) and complete(body)


def one_line_objects(body: str) -> list[str]:
    """From a brace to the next two closing ones, on one line (as published)."""
    objects = []
    for line in body.split("\n"):
        at = 0
        while (start := line.find("{", at)) >= 0:
            stop = line.find("}}", start + 1)
            if stop < 0:
                break
            objects.append(line[start : stop + 2])
            at = stop + 2
    return objects


class _Reader:
    """Reads JSON from the left, and says where it ends or that it is cut off."""

    def __init__(self, text: str, tool: Tool) -> None:
        self._text = text
        self._tool = tool
        self._blank = " \t\r" if tool.one_line else " \t\r\n"
        inside = ("arguments",) if tool.name else ()
        fixed, _, value = tool.fixed.partition("=")
        self._arguments = inside
        self._box_place = (*inside, tool.box) if tool.box else None
        self._reference_place = (*inside, tool.reference) if tool.reference else None
        self._pinned = {(*inside, fixed): value} if fixed else {}
        if tool.name and not tool.any_name:
            self._pinned["name",] = tool.name
        needed = {inside, self._box_place, self._reference_place, *self._pinned}
        self._needed = [place for place in needed if place]

    def object(self, path: tuple[str, ...], at: int) -> int:
        """Read an object that begins at `at`; where it ends."""
        keys: set[str] = set()
        at = self._space(self._expect("{", at))
        if self._at(at) == "}":
            return self._close(path, keys, at)
        while True:
            start = at
            key, at = self._key(path, keys, at)
            if key in keys:
                raise _Wrong
            keys.add(key)
            at = self._expect(":", self._space(at))
            self._check_spelling(key, start)
            at = self._value((*path, key), self._space(at))
            if self._tool.spelled and (*path, key) == self._reference_place:
                # Nothing may follow it.
                return self._close(path, keys, self._expect("}", at) - 1)
            at = self._space(at)
            if self._at(at) == "}":
                return self._close(path, keys, at)
            at = self._space(self._expect(",", at))

    def _close(self, path: tuple[str, ...], keys: set[str], at: int) -> int:
        if any(place[:-1] == path and place[-1] not in keys for place in self._needed):
            raise _Wrong
        return at + 1

    def _key(self, path: tuple[str, ...], keys: set[str], at: int) -> tuple[str, int]:
        """A key; where calls are spelled in one way, one of the two that they have, once."""
        if self._tool.spelled and not path:
            known = [
                f'"{key}"' for key in (self._tool.box, self._tool.reference) if key not in keys
            ]
            rest = self._text[at:]
            if not any(key.startswith(rest) or rest.startswith(key) for key in known):
                raise _Wrong
        return self._string(at)

    def _check_spelling(self, key: str, at: int) -> None:
        for text in self._tool.spelled:
            if text.startswith(f'"{key}":') and not self._text.startswith(text, at):
                if text.startswith(self._text[at:]):
                    raise _Cut
                raise _Wrong

    def _value(self, path: tuple[str, ...], at: int) -> int:
        first = self._at(at)
        if path == self._box_place:
            return self._box(at)
        if path == self._reference_place and self._tool.spelled:
            return self._quoted(at)
        if path == self._reference_place and first != '"':
            return self._number(at, _INTEGER)
        if first == '"':
            return self._text_value(self._pinned.get(path), at)
        if path in self._pinned or (path == self._arguments and first != "{"):
            raise _Wrong
        if first in "{[" and len(path) >= MAX_DEPTH:
            raise _Wrong
        if first == "{":
            return self.object(path, at)
        if first == "[":
            return self._list(path, at)
        return self._word(at) if first.isalpha() else self._number(at)

    def _box(self, at: int) -> int:
        """Four finite numbers."""
        python = bool(self._tool.spelled)
        at = self._expect("[", at)
        for last in (False, False, False, True):
            at = self._space(at)
            at = self._space(self._box_number(at, _PYTHON_NUMBER if python else _NUMBER))
            if not last:
                at = self._expect(",", at)
        if python and self._at(at) == ",":
            at = self._space(at + 1)
        return self._expect("]", at)

    def _box_number(self, at: int, kind: re.Pattern[str]) -> int:
        try:
            end = self._number(at, kind)
        except _Cut:
            # With an exponent that is not negative a number can only grow.
            grows = _GROWS.fullmatch(self._text, at)
            if grows and not abs(float(f"{grows[1]}e0{grows[2].lstrip('+')}")) < MAX_NUMBER:
                raise _Wrong from None
            raise
        if not abs(float(self._text[at:end])) < MAX_NUMBER:
            raise _Wrong
        return end

    def _text_value(self, pinned: str | None, at: int) -> int:
        rest = self._text[at + 1 :]
        if pinned is not None and not set(rest) & {'"', "\\"}:
            if pinned.startswith(rest):
                raise _Cut
            raise _Wrong
        value, at = self._string(at)
        if pinned is not None and value != pinned:
            raise _Wrong
        return at

    def _quoted(self, at: int) -> int:
        """A text in double quotes, or in single ones as Python writes it."""
        if self._at(at) == '"':
            return self._string(at)[1]
        if match := _SINGLE.match(self._text, at):
            return match.end()
        self._cut_if_whole(_OPEN_SINGLE.match(self._text, at))
        raise _Wrong

    def _list(self, path: tuple[str, ...], at: int) -> int:
        at = self._space(self._expect("[", at))
        if self._at(at) == "]":
            return at + 1
        while True:
            at = self._space(self._value((*path, ""), at))
            if self._at(at) == "]":
                return at + 1
            at = self._space(self._expect(",", at))

    def _string(self, at: int) -> tuple[str, int]:
        if match := _STRING.match(self._text, at):
            return json.loads(match[0]), match.end()
        self._at(at)
        self._cut_if_whole(_OPEN_STRING.match(self._text, at))
        raise _Wrong

    def _number(self, at: int, kind: re.Pattern[str] = _NUMBER) -> int:
        # A number at the end may go on.
        self._cut_if_whole(_OPEN[kind].match(self._text, at))
        match = kind.match(self._text, at)
        if match is None:
            raise _Wrong
        return match.end()

    def _word(self, at: int) -> int:
        for word in _WORDS:
            if self._text.startswith(word, at):
                return at + len(word)
            if word.startswith(self._text[at:]):
                raise _Cut
        raise _Wrong

    def _cut_if_whole(self, match: re.Match[str] | None) -> None:
        if match is not None and match.end() == len(self._text):
            raise _Cut

    def _expect(self, character: str, at: int) -> int:
        if self._at(at) != character:
            raise _Wrong
        return at + 1

    def _at(self, at: int) -> str:
        """The character there; the text is cut off where there is none."""
        if at >= len(self._text):
            raise _Cut
        return self._text[at]

    def _space(self, at: int) -> int:
        while at < len(self._text) and self._text[at] in self._blank:
            at += 1
        return at
