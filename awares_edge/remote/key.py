"""The key that a server wants. It comes from the environment, never from the command line."""

from __future__ import annotations

from awares_edge.errors import InputError

KEY_VARIABLE = "AWARES_EDGE_ENDPOINT_KEY"
"""Environment variable that holds a server's key."""


def check_key(key: str) -> str:
    """The key, which can be sent in a header.

    Raises:
        InputError: it cannot.
    """
    if not (key.isascii() and key.isprintable()):
        raise InputError("the endpoint's key must be printable ASCII")
    return key
