"""The JSON object of a call, from untrusted text."""

from __future__ import annotations

import json
import re
from typing import Any

from awares_edge.errors import InputError
from awares_edge.protocol.call.json_prefix import MAX_DEPTH, PYTHON_NUMBER
from awares_edge.protocol.call.tool import Tool

MAX_BODY = 4096
"""Longest text between the tags, in characters."""
_LONG_NUMBER = re.compile(r"\d{21}")
_BLANK = r"[ \t\r\n]*"
_NUMBERS = re.compile(
    rf"{_BLANK}\[{_BLANK}{PYTHON_NUMBER}(?:{_BLANK},{_BLANK}{PYTHON_NUMBER}){{3}}"
    rf"{_BLANK}(?:,{_BLANK})?\]{_BLANK}"
)


class UnreadableCall(InputError):
    """A call that cannot be followed; its text is sent to the model."""


def too_long(body: str) -> bool:
    """Whether a body is beyond what a call can be: its length, or the digits of a number."""
    return len(body) > MAX_BODY or _LONG_NUMBER.search(body) is not None


def read_object(text: str, lenient: Tool | None = None) -> tuple[dict[str, Any], bool]:
    """(the JSON object, whether it was strict JSON).

    Args:
        lenient: tool whose list of numbers and reference may also be written as Python writes them.
    """

    def refuse(constant: str) -> None:
        raise UnreadableCall(f"the call holds {constant}: numbers must be finite")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise UnreadableCall("the call holds a key twice in one object")
        return found

    try:
        value = json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
        deep = _depth(value) > MAX_DEPTH
    except UnreadableCall:
        raise
    except (ValueError, RecursionError) as error:
        if lenient and (strict := _as_json(text, lenient)) != text:
            return read_object(strict)[0], False
        raise UnreadableCall("the call is not valid JSON") from error
    if deep:
        raise UnreadableCall(f"the call is nested over {MAX_DEPTH} deep")
    if not isinstance(value, dict):
        raise UnreadableCall("the call must hold a JSON object")
    return value, True


def _depth(value: Any) -> int:
    """How many lists and objects are inside each other."""
    if not isinstance(value, (dict, list)):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0)


def _as_json(text: str, tool: Tool) -> str:
    """The text with `[.5, 5., 1,]` and a reference in single quotes written as JSON."""
    reference = rf'("{re.escape(tool.reference)}": )\'([^\'"\\\x00-\x1f]*)\'}}\Z'
    text = re.sub(reference, r'\1"\2"}', text)
    match = re.search(rf'"{re.escape(tool.box)}"\s*:(\s*\[[^\]]*\])', text)
    if match is None or not _NUMBERS.fullmatch(match[1]):
        return text
    numbers = [float(n) for n in re.findall(PYTHON_NUMBER, match[1])]
    return text[: match.start(1)] + json.dumps(numbers) + text[match.end(1) :]
