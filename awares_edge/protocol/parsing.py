"""Reading a tool call out of generated text, in every published form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from awares_edge.protocol.crops import CROP_IDS, CROP_NAMES, WHOLE

CALL_MARKER = "GET_CROPS"

CallStatus: TypeAlias = Literal["none", "ok", "repaired", "invalid"]

# Longest text that is searched for a call: generated text is bounded anyway, a caller's may not be.
_MAX_TEXT = 4096
_CALL = re.compile(rf"{CALL_MARKER}[ \t]*:?[ \t]*\[(?P<body>[^\[\]]*)(?P<end>\]?)")
_ITEM = re.compile(r"""[ \t]*(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<bare>[^,'"]*))[ \t]*""")


@dataclass(frozen=True, slots=True)
class CropCall:
    """What a piece of generated text asks for.

    Attributes:
        status: "none" (no call), "ok" (a call in a published form, nothing else), "repaired"
            (understood, with something dropped or put right), "invalid" (a call that names none).
        ids: crop ids in the order asked for, without duplicates; empty unless ok or repaired.
    """

    status: CallStatus
    ids: tuple[str, ...] = ()


def parse_call(text: str, offered: Sequence[str] = tuple(CROP_NAMES)) -> CropCall:
    """Read the tool call in `text`.

    Accepted: ids or names, `all`, single, double or no quotes, with or without colon and space.
    Duplicates, crops that were not `offered`, text around the call and a missing bracket are
    dropped or put right, and reported as "repaired".
    """
    text = text[:_MAX_TEXT].strip()
    if CALL_MARKER not in text:
        return CropCall("none")
    match = _CALL.search(text)
    if match is None:
        return CropCall("invalid")
    clean = match.span() == (0, len(text)) and match["end"] == "]"
    ids: list[str] = []
    for item, exact in _items(match["body"]):
        crop_id = CROP_IDS.get(item, item)
        if crop_id not in offered or crop_id in ids:
            clean = False
            continue
        clean = clean and exact
        ids.append(crop_id)
    if WHOLE in ids and len(ids) > 1:
        # The whole picture already holds every other crop.
        ids, clean = [WHOLE], False
    if not ids:
        return CropCall("invalid")
    return CropCall("ok" if clean else "repaired", tuple(ids))


def _items(body: str) -> Iterable[tuple[str, bool]]:
    """(item, was it written as published) for each list item."""
    at = 0
    while at < len(body):
        match = _ITEM.match(body, at)
        if match is None or match.end() == at:
            # A stray quote or an empty item: step over it.
            if body[at] != ",":
                yield "", False
            at += 1
            continue
        at = match.end()
        bare = match["bare"]
        if bare is None:
            item = match["single"] if match["single"] is not None else match["double"]
            yield item.strip(), item == item.strip()
        elif (digits := bare.strip()).isdigit() and len(digits) > 1:
            # `[05]`, which the evaluator reads digit by digit.
            yield from ((digit, False) for digit in digits)
        else:
            yield bare.strip(), True
        if body[at : at + 1] == ",":
            at += 1


def render_call(ids: Sequence[str]) -> str:
    """The trained form of a call: `GET_CROPS: ['0', '5']`.

    Raises:
        ValueError: no ids, a duplicate, or an unknown one.
    """
    if not ids or len(set(ids)) != len(ids) or any(i not in CROP_NAMES for i in ids):
        raise ValueError(f"not a set of crop ids: {list(ids)}")
    return f"{CALL_MARKER}: [{', '.join(repr(i) for i in ids)}]"
