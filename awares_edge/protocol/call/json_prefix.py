"""Whether a text can still become a JSON object that calls a tool, for constrained decoding."""

from __future__ import annotations

import re
from collections.abc import Callable

from awares_edge.protocol.call.tool import Tool

_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_OPEN_STRING = re.compile(
    r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*(?:\\(?:u[0-9a-fA-F]{0,3})?)?'
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,19})?(?:[eE][-+]?[0-9]{1,2})?")
_OPEN_NUMBER = re.compile(
    r"-?(?:(?:0|[1-9][0-9]{0,19})(?:\.(?:[0-9]{1,19}(?:[eE][-+]?[0-9]{0,2})?)?|[eE][-+]?[0-9]{0,2})?)?"
)
_WORDS = ("true", "false", "null")
_DEEPEST = 8


class _Cut(Exception):
    """The text ends inside the object: what is there so far can become one."""


class _Wrong(Exception):
    """The text cannot become the object."""


def could_be_object(body: str, tool: Tool, complete: Callable[[str], bool]) -> bool:
    """Whether a body can still become a call.

    Args:
        body: the text behind the opening tag.
        complete: whether a whole body is a call; asked once the object is closed.
    """
    if tool.one_line and "\n" in body.strip("\n"):
        return False
    if tool.spelled and not (body.startswith(tool.spelled[0]) or tool.spelled[0].startswith(body)):
        return False
    text = body.lstrip()
    if not text:
        return not (tool.spelled and body)
    if not text.startswith("{") and not tool.whole_body:
        # Text around the object (a fence, a list): some published parsers look past it.
        return True
    try:
        end = _Reader(text, tool).object((), 0)
    except _Cut:
        return True
    except _Wrong:
        return False
    return not text[end:].strip() and complete(body)


class _Reader:
    """Reads JSON from the left, and says where it ends or that it is cut off."""

    def __init__(self, text: str, tool: Tool) -> None:
        self._text = text
        self._tool = tool

    def object(self, path: tuple[str, ...], at: int) -> int:
        """Read an object that begins at `at`; where it ends."""
        at = self._expect("{", at)
        at = self._space(at)
        if self._text.startswith("}", at):
            return at + 1
        while True:
            key, at = self._string(at)
            at = self._expect(":", self._space(at))
            at = self._value((*path, key), self._space(at))
            at = self._space(at)
            if self._text.startswith("}", at):
                return at + 1
            at = self._space(self._expect(",", at))

    def _value(self, path: tuple[str, ...], at: int) -> int:
        first = self._text[at : at + 1]
        if not first:
            raise _Cut
        if path == self._box_path():
            return self._box(at)
        if first == '"':
            return self._text_value(path, at)
        if len(path) > _DEEPEST:
            raise _Wrong
        if first == "{":
            return self.object(path, at)
        if first == "[":
            return self._list(path, at)
        if first.isalpha():
            return self._word(at)
        return self._number(at)

    def _box_path(self) -> tuple[str, ...]:
        return ("arguments", self._tool.box) if self._tool.name else (self._tool.box,)

    def _box(self, at: int) -> int:
        """Four finite numbers."""
        at = self._expect("[", at)
        for _ in range(3):
            at = self._number(self._space(at))
            at = self._expect(",", self._space(at))
        at = self._space(self._number(self._space(at)))
        if self._tool.spelled and self._text.startswith(",", at):
            at = self._space(at + 1)
        return self._expect("]", at)

    def _text_value(self, path: tuple[str, ...], at: int) -> int:
        named = path == ("name",) and self._tool.name and not self._tool.any_name
        rest = self._text[at + 1 :]
        if named and '"' not in rest:
            if self._tool.name.startswith(rest):
                raise _Cut
            raise _Wrong
        value, at = self._string(at)
        if named and value != self._tool.name:
            raise _Wrong
        return at

    def _list(self, path: tuple[str, ...], at: int) -> int:
        at = self._space(self._expect("[", at))
        if self._text.startswith("]", at):
            return at + 1
        while True:
            at = self._space(self._value((*path, ""), at))
            if self._text.startswith("]", at):
                return at + 1
            at = self._space(self._expect(",", at))

    def _string(self, at: int) -> tuple[str, int]:
        if at >= len(self._text):
            raise _Cut
        if match := _STRING.match(self._text, at):
            return match[0][1:-1], match.end()
        self._cut_if_whole(_OPEN_STRING.match(self._text, at))
        raise _Wrong

    def _number(self, at: int) -> int:
        # Where a list may be written as in Python, a number may begin with its point.
        start = at + int(bool(self._tool.spelled) and self._text.startswith(".", at))
        match, begun = _NUMBER.match(self._text, start), _OPEN_NUMBER.match(self._text, start)
        # A number at the end may go on.
        self._cut_if_whole(begun)
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
        if at >= len(self._text):
            raise _Cut
        if self._text[at] != character:
            raise _Wrong
        return at + 1

    def _space(self, at: int) -> int:
        while self._text[at : at + 1] in (" ", "\t", "\n", "\r") and at < len(self._text):
            at += 1
        return at
