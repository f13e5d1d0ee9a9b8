"""What is checked before a request is read: who asks, under which name, and how much they send."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect, Request

from awares_edge.serve.options import ServeOptions
from awares_edge.serve.refusals import Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What answers without a token: probes of an orchestrator have none."""

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")


class Guard:
    """Middleware that refuses foreign Host headers and wrong tokens.

    A page from elsewhere can make a browser reach this machine under a name of the page's own (DNS
    rebinding), but not under an IP address or `localhost`. It can also post text without asking
    first, but not JSON (see `read_body`); and no response allows another origin to read it.
    """

    def __init__(self, app: App, options: ServeOptions) -> None:
        self._app = app
        self._hosts = {"localhost", *(name.lower() for name in options.hosts)}
        self._token = options.token.encode() if options.token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_host(_values(scope, b"host"))
            if scope["path"] not in OPEN_PATHS:
                self._check_token(_values(scope, b"authorization"))
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

    def _check_token(self, values: list[bytes]) -> None:
        if self._token is None:
            return
        scheme, _, given = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            raise Refusal(
                401,
                "send this server's token as 'Authorization: Bearer TOKEN'",
                kind="authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


async def read_body(request: Request, options: ServeOptions) -> bytes:
    """The whole body of a JSON request.

    Raises:
        Refusal: it is not said to be JSON, is too long, or comes too slowly.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "send Content-Type: application/json", code="unsupported_media_type")
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said[:20]) > _PATIENCE * options.max_body:
        raise _too_long(options)
    try:
        return await asyncio.wait_for(_read(request, options), options.body_seconds)
    except asyncio.TimeoutError:
        message = f"the request did not arrive within {options.body_seconds:g} seconds"
        raise Refusal(408, message, code="request_timeout", headers=_CLOSE) from None
    except ClientDisconnect:
        raise Refusal(400, "the client left before its request was complete") from None


async def _read(request: Request, options: ServeOptions) -> bytes:
    body, length = bytearray(), 0
    async for piece in request.stream():
        length += len(piece)
        if length <= options.max_body:
            body += piece
        elif length > _PATIENCE * options.max_body:
            break
    if length > options.max_body:
        raise _too_long(options)
    return bytes(body)


# A client that is still sending does not read the response: a body that is too long is read to its
# end, and dropped, unless it is this many times too long.
_PATIENCE = 4
# What is left of the body must not be read as the next request.
_CLOSE = {"Connection": "close"}


def _too_long(options: ServeOptions) -> Refusal:
    message = f"the request has over {options.max_body:,} bytes: send smaller pictures"
    return Refusal(413, message, code="request_too_large", headers=_CLOSE)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value for key, value in headers if key == name]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
