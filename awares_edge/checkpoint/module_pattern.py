"""Patterns for module names in LoRA configurations, matched in linear time.

PEFT reads them as regular expressions (`peft.utils.other.get_pattern_key`), which an untrusted
adapter could use to stall a program: Python's `re` backtracks. Real adapters hold names, names with
escaped dots and a wildcard or two, so exactly that is supported here:

    letters, digits, _ and -    themselves
    \\.  \\-  \\_                  the escaped character
    .  \\d  [0-9]                any character; a digit
    *  +                        after one of these: any number of it; at least one
    ^ at the start, $ at the end, | between alternatives
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, replace

MAX_LENGTH = 512
_NAME = frozenset(string.ascii_letters + string.digits + "_-")
_DIGITS = frozenset(string.digits)


@dataclass(frozen=True, slots=True)
class _Part:
    """One character of a pattern, and whether it may be absent or repeated."""

    fits: Callable[[str], bool]
    optional: bool = False
    repeats: bool = False


def matches(pattern: str, module: str) -> bool:
    """Whether `pattern` matches `module` whole, or its end after a dot, as in PEFT.

    Raises:
        ValueError: the pattern is too long, or uses another feature of regular expressions; the
            text completes a sentence that begins with the pattern.
    """
    if len(pattern) > MAX_LENGTH or len(module) > MAX_LENGTH:
        raise ValueError(f"is over {MAX_LENGTH} characters")
    return any(_matches(alternative, module) for alternative in pattern.split("|"))


def _matches(pattern: str, module: str) -> bool:
    anchored = pattern.startswith("^")
    parts = _parts(pattern.removeprefix("^").removesuffix("$"))
    # The states of a nondeterministic automaton: how many parts have been matched.
    states: set[int] = set()
    for at, character in enumerate(module):
        if at == 0 or (module[at - 1] == "." and not anchored):
            states.add(0)
        states = {
            after
            for state in _closure(states, parts)
            if state < len(parts) and parts[state].fits(character)
            for after in ((state, state + 1) if parts[state].repeats else (state + 1,))
        }
    return len(parts) in _closure(states, parts)


def _closure(states: set[int], parts: list[_Part]) -> set[int]:
    """The states, and those that follow by skipping optional parts."""
    reached = set(states)
    for state in sorted(states):
        while state < len(parts) and parts[state].optional:
            state += 1
            reached.add(state)
    return reached


def _parts(pattern: str) -> list[_Part]:
    parts: list[_Part] = []
    at = 0
    while at < len(pattern):
        c, pair = pattern[at], pattern[at : at + 2]
        if c in "*+" and parts and not parts[-1].repeats:
            parts[-1] = replace(parts[-1], optional=c == "*", repeats=True)
            at += 1
        elif pair in ("\\.", "\\-", "\\_"):
            parts.append(_Part(pair[1].__eq__))
            at += 2
        elif pair == "\\d" or pattern.startswith("[0-9]", at):
            parts.append(_Part(_DIGITS.__contains__))
            at += 2 if pair == "\\d" else 5
        elif c == ".":
            parts.append(_Part(bool))
            at += 1
        elif c in _NAME:
            parts.append(_Part(c.__eq__))
            at += 1
        else:
            raise ValueError("uses a regular expression that is not supported")
    return parts
