"""Ways to damage a file or a JSON document; each draws only from the given generator."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

_WHOLE = [0, 1, 2, 3, -1, 255, 1 << 16, (1 << 16) + 1, 1 << 31, 1 << 53, 1 << 63, 1 << 64, 10**30]
_REAL = [0.0, -0.0, -1.0, 1e-320, 1e-30, 1e30, 1e308, float("inf"), float("-inf"), float("nan")]
_TEXT = ["", " ", "\n", "\0", "\x1b[31m", "../x", "/etc/passwd", "\ud800", "é" * 9, "a" * 70_000]
_OTHER = [None, True, [], {}, [[]], {"a": {}}, [0] * 5000, "1", 1, 1.5]


def damage(random: Random, data: bytes) -> bytes:
    """A few bytes changed, cut, doubled or put in."""
    out = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 8])):
        at = random.randrange(len(out) + 1)
        what = random.randrange(6)
        if what == 0:
            del out[at:]
        elif what == 1:
            del out[at : at + random.choice([1, 4, 64])]
        elif what == 2:
            out[at : at + 1] = bytes([random.randrange(256)])
        elif what == 3:
            out[at : at + 8] = random.choice(_WHOLE[:12]).to_bytes(9, "little", signed=True)[:8]
        elif what == 4:
            out[at:at] = out[at : at + random.choice([1, 16, 256])]
        else:
            out[at:at] = random.randbytes(random.choice([1, 8, 100]))
    return bytes(out)


def absurd(random: Random, value: Any) -> Any:
    """A value that a field of this type should hardly have, and now and then of another type."""
    if random.random() < 0.15:
        return copy.deepcopy(random.choice(_OTHER))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice([*_WHOLE, value + 1, value - 1, 2 * value, random.randrange(1 << 20)])
    if isinstance(value, float):
        return random.choice([*_REAL, value * 2, random.uniform(-10, 10), 3])
    if isinstance(value, str):
        return random.choice([*_TEXT, value * 2, value[:1], value + "\n"])
    if isinstance(value, list):
        return random.choice([[], value * 2, value[:-1], value[::-1], [value], value * 5000])
    if isinstance(value, dict):
        return random.choice([{}, {**value, "extra": 1}, dict(list(value.items())[:-1]), [value]])
    return copy.deepcopy(random.choice(_OTHER))


def change_json(random: Random, tree: Any) -> str:
    """The text of a JSON document with one to three values made absurd, or its text damaged."""
    if random.random() < 0.15:
        text = damage(random, json.dumps(tree).encode())
        return text.decode("utf-8", random.choice(["replace", "surrogateescape"]))
    tree = copy.deepcopy(tree)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        parent, key = random.choice(_places(tree))
        what = random.random()
        if what < 0.05 and isinstance(parent, dict):
            del parent[key]
        elif what < 0.1 and isinstance(parent, dict):
            parent[random.choice([*_TEXT, "extra"])] = copy.deepcopy(parent[key])
        else:
            parent[key] = absurd(random, parent[key])
    text = json.dumps(tree)
    if random.random() < 0.05:
        return text[:-1] + ", " + text[1:]  # every key twice
    if random.random() < 0.02:
        return text[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"
    return text


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value in a document."""
    found: list[tuple[Any, Any]] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        found.append((tree, key))
        if isinstance(value, (dict, list)) and value:
            found += _places(value)
    return found
