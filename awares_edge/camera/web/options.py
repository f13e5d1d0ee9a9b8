"""How the page is served: who may ask, and what a request may hold."""

from __future__ import annotations

from dataclasses import dataclass

from awares_edge.errors import InputError
from awares_edge.httpd.limits import check_token

MAX_FRAME_BYTES = 4 << 20
"""Bytes of a frame that a browser sends."""
MAX_JSON_BYTES = 256 << 10
MAX_PAGES = 16
"""Pages that follow the events at a time."""
MAX_INTERVAL = 3600.0
"""Seconds between continuous questions."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """How to serve the page.

    Attributes:
        token: what a browser must show, as a cookie that the page gets for it, or clients as
            `Authorization: Bearer ...`; None for no check.
        hosts: names that the Host header may have besides IP addresses and `localhost`.
        secure: whether it is served over HTTPS.
        cookie: name of the cookie with the token. Cookies do not know ports: two servers on one
            machine need two names.
        header_seconds, body_seconds: for a request's header and body to arrive; the second also
            for a client that does not read its response.
        drain: seconds that running requests may take at the end.
        max_body: bytes of a request.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ()
    secure: bool = False
    cookie: str = "awares-edge"
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    drain: float = 2.0
    max_body: int = MAX_FRAME_BYTES

    def __post_init__(self) -> None:
        check_token(self.token)
        for name in ("drain", "header_seconds", "body_seconds"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0 seconds")
        if self.max_body < 1024:
            raise InputError("max_body must be at least 1024")
