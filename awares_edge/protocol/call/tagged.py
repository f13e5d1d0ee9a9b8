"""Calls between two tags: a JSON object, or a list of four numbers.

    <tool_call>{"name": "zoom", "arguments": {"bbox_2d": [10, 20, 110, 220]}}</tool_call>
    <zoom>[10, 20, 110, 220]</zoom>

Which of a model's texts count as a call follows its published parser; what that accepts and a
strict reader would not is "repaired". Text is read as JSON or by pattern, never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from awares_edge.errors import InputError
from awares_edge.protocol.call.base import Call, Request
from awares_edge.protocol.call.json_object import MAX_BODY, UnreadableCall, read_object, too_long
from awares_edge.protocol.call.json_prefix import MAX_NUMBER, could_be_object, one_line_objects
from awares_edge.protocol.call.tool import Tool

_LIST = re.compile(r"\[\d+,\s*\d+,\s*\d+,\s*\d+\]")
_EXAMPLE_BOXES = ("10, 20, 110, 220", "705, 8, 990, 64")
_END = "<|im_end|>"


class TaggedCall:
    """The calls of one profile.

    Args:
        tool: of syntax "json" or "list".

    Raises:
        InputError: its fields do not make a call that can be read back.
    """

    def __init__(self, tool: Tool) -> None:
        if not tool.opening.strip() or not tool.closing.strip():
            raise InputError("a tool needs an opening and a closing tag")
        if tool.syntax == "json" and not (tool.box or tool.fixed):
            raise InputError("a tool of syntax json needs the key of a box or a fixed argument")
        self.tool = tool
        self.marker = tool.opening
        self.grammar = _TaggedGrammar(self)
        for example in self.examples():
            if self.parse(example).status != "ok":
                raise InputError(f"the example {example[:200]!r} is not a call that can be read")

    def examples(self) -> Sequence[str]:
        """Calls in their trained form that differ in every decision of the model."""
        boxes = _EXAMPLE_BOXES if "{box}" in self.tool.example else ("",)
        return [self.render(box) for box in boxes]

    def render(self, box: str, reference: str = "") -> str:
        """The trained form of a call; "" as reference stands for the source picture."""
        if not reference and self.tool.reference:
            reference = "original_image" if '"{reference}"' in self.tool.example else "1"
        return self.tool.example.replace("{box}", box).replace("{reference}", reference)

    def find(self, text: str) -> int | None:
        """Where the first opening tag is; None where there is none."""
        at = text.find(self.marker)
        return None if at < 0 else at

    def first_sign(self, text: str) -> int | None:
        """Where `text` stops being an answer: at the first opening tag."""
        return self.find(text)

    def call_start(self, reply: str) -> int | None:
        """Where a complete reply stops being an answer; None where it is one.

        An opening without its closing tag is not a call, and not part of an answer.
        """
        start = self.find(reply)
        whole = start is None or (
            self.tool.closing in reply[start:] and self.parse(reply).status == "none"
        )
        return None if whole else start

    def certain(self, text: str) -> int:
        """How many characters of `text` are not part of a call, however it continues."""
        at = self.find(text)
        if at is not None:
            return at
        for length in range(min(len(text), len(self.marker) - 1), 0, -1):
            if text.endswith(self.marker[:length]):
                return len(text) - length
        return len(text)

    def fixed_rest(self, text: str) -> str:
        """What is left of the text behind the numbers, once its first character is there."""
        _, placeholder, behind = self.tool.example.rpartition("{box}")
        if not placeholder or "{reference}" in behind:
            return ""
        for begun in range(len(behind) - 1, 0, -1):
            if text.endswith(behind[:begun]) and self.grammar.viable(text + behind[begun:]):
                return behind[begun:]
        return ""

    def parse(self, reply: str) -> Call:
        """Read the call in a complete reply."""
        tool, text = self.tool, reply.strip().removesuffix(_END).rstrip()
        bodies = self._bodies(text)
        if tool.unless_answer and _holds_answer(text):
            return Call("none")
        if tool.at_end and not text.endswith(tool.closing):
            bodies = []
        if not bodies or (tool.unless_answer and not bodies[-1]):
            return Call("none")
        try:
            request, clean = self._request(bodies)
        except UnreadableCall as problem:
            return Call("invalid", problem=str(problem))
        clean = clean and len(bodies) == 1 and text.endswith(tool.closing)
        return Call("ok" if clean else "repaired", (request,))

    def _bodies(self, text: str) -> list[str]:
        """Texts between an opening tag and the next closing tag."""
        bodies, at = [], 0
        while (start := text.find(self.tool.opening, at)) >= 0:
            start += len(self.tool.opening)
            stop = text.find(self.tool.closing, start)
            if stop < 0:
                break
            bodies.append(text[start:stop])
            at = stop + len(self.tool.closing)
        return bodies

    def _request(self, bodies: list[str]) -> tuple[Request, bool]:
        body = bodies[-1] if self.tool.which == "last" else bodies[0]
        if too_long(body):
            raise UnreadableCall("the call is too long")
        if self.tool.syntax == "list":
            return self._from_list(body)
        return self._from_json(bodies, body)

    def _from_list(self, body: str) -> tuple[Request, bool]:
        found = _LIST.findall(body)
        if len(found) != 1:
            raise UnreadableCall("the call must hold one box [x1, y1, x2, y2] of whole numbers")
        x1, y1, x2, y2 = (float(int(n)) for n in found[0].strip("[]").split(","))
        return Request(box=(x1, y1, x2, y2)), body.strip() == found[0] and found[0].isascii()

    def _from_json(self, bodies: list[str], body: str) -> tuple[Request, bool]:
        tool = self.tool
        found = body.strip()
        if tool.spelled and not (_holds_in_order(body, tool.spelled) and body[-2:] in ('"}', "'}")):
            raise UnreadableCall(f"the call must be spelled as {tool.example}")
        if tool.one_line:
            objects = [text for b in bodies for text in one_line_objects(b[:MAX_BODY])]
            if tool.which == "only" and len(objects) > 1:
                raise UnreadableCall("one call a step is allowed")
            if not objects:
                raise UnreadableCall("there is no JSON object in the call")
            found = objects[0]
            # A body that begins with a brace must itself be the object.
            if (tool.whole_body and found != body.strip()) or (
                body.lstrip().startswith("{") and not body.lstrip().startswith(found)
            ):
                raise UnreadableCall("the call is not valid JSON")
        call, clean = read_object(found, lenient=tool if tool.spelled else None)
        clean = clean and found == body.strip()
        if tool.spelled and list(call) != [tool.box, tool.reference]:
            raise UnreadableCall(f"the call must be spelled as {tool.example}")
        if not tool.name:
            return self._arguments(call), clean
        clean = self._check_name(call) and clean
        arguments = call.get("arguments")
        if not isinstance(arguments, dict):
            raise UnreadableCall("'arguments' must be an object")
        return self._arguments(arguments), clean

    def _check_name(self, call: dict[str, Any]) -> bool:
        name = call.get("name")
        if name == self.tool.name:
            return True
        if self.tool.any_name:
            return False
        raise UnreadableCall(f"there is no tool {str(name)[:80]!r}: the tool is {self.tool.name}")

    def _arguments(self, arguments: dict[str, Any]) -> Request:
        tool = self.tool
        if tool.fixed:
            key, _, value = tool.fixed.partition("=")
            if arguments.get(key) != value:
                raise UnreadableCall(f"{key!r} must be {value!r}")
        if not tool.box:
            return Request()
        box = arguments.get(tool.box)
        if not isinstance(box, list) or len(box) != 4:
            raise UnreadableCall(f"{tool.box!r} must be a list of four numbers")
        if any(type(number) not in (int, float) for number in box):
            raise UnreadableCall(f"{tool.box!r} must be a list of four numbers")
        x1, y1, x2, y2 = map(float, box)
        if not all(abs(number) < MAX_NUMBER for number in (x1, y1, x2, y2)):
            raise UnreadableCall(f"the numbers of {tool.box!r} are out of range")
        reference = arguments.get(tool.reference) if tool.reference else None
        if tool.reference and type(reference) not in (int, str):
            raise UnreadableCall(f"{tool.reference!r} is missing or not a name or a whole number")
        return Request(box=(x1, y1, x2, y2), reference=reference)


class _TaggedGrammar:
    """Which texts are, or can become, a call, from the opening tag on."""

    def __init__(self, call: TaggedCall) -> None:
        self._call = call

    def viable(self, text: str) -> bool:
        """Can `text` still become a call (or is it one already)?"""
        tool = self._call.tool
        if not text.startswith(tool.opening):
            return tool.opening.startswith(text)
        body, closed, after = text[len(tool.opening) :].partition(tool.closing)
        if closed:
            return not after.strip() and self.complete(text)
        # The end may be the closing tag's beginning.
        for length in range(min(len(body), len(tool.closing) - 1), 0, -1):
            if body.endswith(tool.closing[:length]) and self.complete(
                f"{text[: len(text) - length]}{tool.closing}"
            ):
                return True
        if too_long(body):
            return False
        if tool.syntax == "list":
            return len(_LIST.findall(body)) <= 1
        return could_be_object(
            body, tool, lambda b: self.complete(f"{tool.opening}{b}{tool.closing}")
        )

    def complete(self, text: str) -> bool:
        """Is `text` a call, to the last character?"""
        ends = text.rstrip().endswith(self._call.tool.closing)
        return ends and self._call.parse(text).status in ("ok", "repaired")


def _holds_in_order(body: str, texts: Sequence[str]) -> bool:
    if not body.startswith(texts[0]):
        return False
    at = 0
    for text in texts:
        if (at := body.find(text, at)) < 0:
            return False
        at += len(text)
    return True


def _holds_answer(text: str) -> bool:
    """Whether something is between <answer> and </answer>."""
    start = text.find("<answer>")
    return start >= 0 and text.find("</answer>", start + len("<answer>") + 1) >= 0
