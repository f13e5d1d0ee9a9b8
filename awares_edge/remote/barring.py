"""A grammar that a reply is held to where it must not call again.

On this machine a call that is not allowed is removed: the token that began it is barred there,
and the model goes on. A server cannot do that, but llama.cpp, vLLM and SGLang hold a reply to a
grammar in GBNF: the text before the call, then anything but the call's first character, and no sign
of a call behind it.

The last part is the language of texts without one word: the states of Knuth, Morris and Pratt's
matcher, each with the characters that do not complete it.
"""

from __future__ import annotations

_LONGEST_KEPT = 400
"""Longest text before a call that the grammar repeats, in characters."""


def without_call(sign: str, before: str, first: str, never: str = "") -> str:
    """GBNF of the replies that begin like another one, without the call in it.

    Args:
        sign: what every call holds at its beginning, at least one character.
        before: the reply up to the call; a long one is left free.
        first: characters that may not come next, such as the call's first.
        never: characters that are in calls alone.
    """
    kept = f'"{_escape(before)}" ' if before and len(before) <= _LONGEST_KEPT else ""
    if len(before) > _LONGEST_KEPT:
        start = "s0"
    else:
        start = f'{kept}( "" | [^{_escape(first + never)}] s0 )'
    return f"root ::= {start}\n" + "".join(_rules(sign, never))


def _rules(sign: str, never: str) -> list[str]:
    """Rules of every text, the empty one too, without `sign` and without the characters `never`."""
    rules = []
    for state in range(len(sign)):
        ways: dict[int, str] = {}
        for character in sorted(set(sign)):
            target = _next(sign, state, character)
            ways[target] = ways.get(target, "") + character
        options = [f"[^{_escape(''.join(sorted(set(sign + never))))}] s0"]
        options += [
            f"[{_escape(characters)}] s{target}"
            for target, characters in sorted(ways.items())
            if target < len(sign)
        ]
        rules.append(f's{state} ::= "" | ' + " | ".join(options) + "\n")
    return rules


def _next(sign: str, matched: int, character: str) -> int:
    """How much of the sign a text ends with, once `character` follows `matched` of it."""
    text = sign[:matched] + character
    return next(n for n in range(len(text), -1, -1) if sign.startswith(text[len(text) - n :]))


def _escape(text: str) -> str:
    codes = [ord(character) for character in text]
    return "".join(rf"\x{code:02X}" if code < 256 else rf"\U{code:08X}" for code in codes)
