"""What is checked before a request is read: who asks, under which name, and how much they send.

How long they take is bounded by `connections`.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect, Request

from awares_edge.httpd.limits import HttpLimits
from awares_edge.httpd.refusals import CLIENT_LEFT, Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBES = frozenset({"/healthz", "/readyz"})
"""Paths that answer without a token: probes of an orchestrator have none."""

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")


class Guard:
    """Middleware that refuses foreign Host headers and wrong tokens.

    A page from elsewhere can make a browser reach this machine under a name of the page's own (DNS
    rebinding), but not under an IP address or `localhost`. It can also post text without asking
    first, but not JSON (see `read_body`); and no response allows another origin to read it.

    Args:
        open_paths: what answers without the token.
        cookie: name of a cookie that may carry the token, for what a browser fetches without
            headers of a page's choice, such as pictures.
    """

    def __init__(
        self,
        app: App,
        limits: HttpLimits,
        *,
        open_paths: Collection[str] = PROBES,
        cookie: str | None = None,
    ) -> None:
        self._app = app
        self._open_paths, self._cookie = open_paths, cookie
        self._hosts = {"localhost", *(name.lower() for name in limits.hosts)}
        self._token = limits.token.encode() if limits.token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_host(_values(scope, b"host"))
            if scope["path"] not in self._open_paths:
                self._check_token(scope)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check_host(self, hosts: list[bytes]) -> None:
        match = _HOST.fullmatch(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if match is None:
            raise Refusal(400, "the request needs one valid Host header", code="invalid_host")
        name = match["name"].lower().strip("[]")
        if name not in self._hosts and not _is_address(name):
            raise Refusal(
                403,
                "this server is not known by that name: start it with --allow-host NAME",
                kind="permission_error",
                code="unknown_host",
            )

    def _check_token(self, scope: Scope) -> None:
        if self._token is None:
            return
        values = _values(scope, b"authorization")
        scheme, _, given = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer":
            given = b"" if self._cookie is None else _cookie(scope, self._cookie)
        if not hmac.compare_digest(given.strip(), self._token):
            raise Refusal(
                401,
                "send this server's token as 'Authorization: Bearer TOKEN'",
                kind="authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


async def read_body(request: Request, limits: HttpLimits, kind: str = "application/json") -> bytes:
    """The whole body of a request.

    Args:
        kind: the Content-Type it must have. Choose none that a page can post to another origin
            without asking first (text/plain, and what forms send).

    Raises:
        Refusal: it is not said to be of this kind, is too long, or its client left.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise Refusal(415, f"send Content-Type: {kind}", code="unsupported_media_type")
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said[:20]) > _PATIENCE * limits.max_body:
        raise _too_long(limits)
    body, length = bytearray(), 0
    try:
        async for piece in request.stream():
            length += len(piece)
            if length <= limits.max_body:
                body += piece
            elif length > _PATIENCE * limits.max_body:
                break
    except ClientDisconnect:
        message = "the client left, or was too slow, before its request was complete"
        raise Refusal(CLIENT_LEFT, message) from None
    if length > limits.max_body:
        raise _too_long(limits)
    return bytes(body)


# A client that is still sending does not read the response: a body that is too long is read to its
# end, and dropped, unless it is this many times too long.
_PATIENCE = 4
# What is left of the body must not be read as the next request.
_CLOSE = {"Connection": "close"}


def _too_long(limits: HttpLimits) -> Refusal:
    message = f"the request has over {limits.max_body:,} bytes: send smaller pictures"
    return Refusal(413, message, code="request_too_large", headers=_CLOSE)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value for key, value in headers if key == name]


def _cookie(scope: Scope, name: str) -> bytes:
    """The value of a cookie; empty where there is none, or more than one."""
    pairs = [
        pair.partition(b"=") for line in _values(scope, b"cookie") for pair in line.split(b";")
    ]
    found = [value for key, _, value in pairs if key.strip() == name.encode()]
    return found[0] if len(found) == 1 else b""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
