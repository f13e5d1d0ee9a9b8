"""What keeps other pages out of this one, and this one at home."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders

from awares_edge.httpd.guard import App, Receive, Scope, Send
from awares_edge.httpd.refusals import Refusal

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No script may turn text into HTML.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content-Security-Policy: nothing inline, and no other server."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class OwnHeaders:
    """Middleware that puts `HEADERS` on every response, refusals included."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)


class SameOrigin:
    """Middleware that refuses what another origin's page makes a browser send.

    Browsers say where a request comes from: `Sec-Fetch-Site` (Fetch Metadata) with all requests,
    `Origin` at least with those that change something. Clients other than browsers send neither.
    A link from another site to the page itself is fine.
    """

    def __init__(self, app: App, *, secure: bool) -> None:
        self._app = app
        self._scheme = "https" if secure else "http"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_foreign(scope):
            refusal = Refusal(
                403,
                "a page of another origin may not use this server",
                kind="permission_error",
                code="cross_origin",
            )
            await refusal.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        own = f"{self._scheme}://{headers.get('host', '')}"
        if any(origin.lower() != own.lower() for origin in origins):
            return True
        site = headers.get("sec-fetch-site", "none")
        link = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        return site not in ("none", "same-origin") and not link
