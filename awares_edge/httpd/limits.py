"""What a server bounds, and which addresses need a token."""

from __future__ import annotations

import ipaddress
from typing import Protocol

from awares_edge.errors import InputError

MAX_CONNECTIONS = 256
MAX_HEADER = 16_384
MIN_TOKEN = 16


class HttpLimits(Protocol):
    """What the guard and the connections of a server must know.

    Attributes:
        token: what clients must send as `Authorization: Bearer ...`; None for no check.
        hosts: names that the Host header may carry beside IP addresses and `localhost`.
        header_seconds, body_seconds: for a request's header and body to arrive; the second also
            for a client that does not read its response.
        drain: seconds that running requests may take after SIGTERM.
        max_body: bytes of a request.
    """

    @property
    def token(self) -> str | None: ...
    @property
    def hosts(self) -> tuple[str, ...]: ...
    @property
    def header_seconds(self) -> float: ...
    @property
    def body_seconds(self) -> float: ...
    @property
    def drain(self) -> float: ...
    @property
    def max_body(self) -> int: ...


def check_token(token: str | None) -> None:
    """
    Raises:
        InputError: a token that is too short to be secret, or cannot be in a header.
    """
    if token is not None and not (token.isascii() and len(token) >= MIN_TOKEN):
        raise InputError(f"the token must have at least {MIN_TOKEN} ASCII characters")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, token: str | None) -> None:
    """
    Raises:
        InputError: other machines could reach the server, and it has no token.
    """
    if token is None and not is_loopback(host):
        raise InputError(
            f"{host} can be reached from other machines: set a token (environment variable "
            f"AWARES_EDGE_TOKEN, at least {MIN_TOKEN} characters), or listen on 127.0.0.1"
        )
