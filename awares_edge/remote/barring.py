"""A grammar of all texts in which a call's marker does not occur.

On this machine a call that is not allowed is taken back token by token. A server cannot do that,
but llama.cpp, vLLM and SGLang hold a reply to a grammar in GBNF. The marker's absence is one: the
states of Knuth, Morris and Pratt's matcher, each with the characters that do not complete the
marker.
"""

from __future__ import annotations


def without(marker: str) -> str:
    """GBNF of every text, the empty one too, that does not hold `marker` in any case.

    Args:
        marker: printable ASCII, at least one character.
    """
    folded = marker.lower()
    rules = ["root ::= s0"]
    for state in range(len(folded)):
        ways: dict[int, list[str]] = {}
        for character in sorted(set(folded)):
            ways.setdefault(_next(folded, state, character), []).append(character)
        known = _class(list(dict.fromkeys(folded)))
        options = [f"[^{known}] s0"]
        for target, characters in sorted(ways.items()):
            if target < len(folded):
                options.append(f"[{_class(characters)}] s{target}")
        rules.append(f's{state} ::= "" | ' + " | ".join(options))
    return "\n".join(rules) + "\n"


def _next(marker: str, matched: int, character: str) -> int:
    """How much of the marker a text ends with, once `character` follows `matched` of it."""
    text = marker[:matched] + character
    return next(n for n in range(len(text), -1, -1) if marker.startswith(text[len(text) - n :]))


def _class(characters: list[str]) -> str:
    """The inside of a character class, letters in both cases."""
    both = dict.fromkeys(c for one in characters for c in (one, one.upper()))
    return "".join(rf"\x{ord(c):02X}" for c in both)
