"""A small client for OpenAI-compatible chat endpoints, with retries and back-off."""

from __future__ import annotations

import base64
import http.client
import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from awares_edge.errors import InputError
from awares_edge.training.errors import EndpointError, ReplyError

# Tried again: timeouts, rate limits, servers that restart.
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}
# Concern one request only: malformed, too long, or refused because of its content.
_REFUSED = {400, 413, 422}
_ADVICE = {
    "HTTP 401": "give its key",
    "HTTP 403": "give a key that may use it",
    "HTTP 404": "check the address (up to /v1) and the model's name",
}
MOST_UNUSABLE = 20
"""Unusable replies in a row after which the run stops: the set-up must be wrong."""
_MAX_REPLY_BYTES = 4 << 20
_LONGEST_WAIT = 120.0


@dataclass(frozen=True)
class Endpoint:
    """Where a chat model answers.

    Attributes:
        url: base URL up to and with ``/v1``.
        model: model name as the server knows it.
        key: bearer token, or empty.
        attempts: tries for one request; waits double from ``first_wait`` seconds.
        timeout: seconds for one try.
    """

    url: str
    model: str
    key: str = ""
    attempts: int = 5
    first_wait: float = 1.0
    timeout: float = 120.0

    def __post_init__(self) -> None:
        """
        Raises:
            InputError: ``url`` is not an HTTP address, or ``key`` cannot be sent in a header.
        """
        try:
            address = urllib.parse.urlsplit(self.url)
            known = address.scheme in ("http", "https") and bool(address.hostname)
        except ValueError:
            known = False
        if not known:
            raise InputError(
                f"{self.url!r} is not the address of a server: write http://HOST:PORT/v1"
            )
        if not (self.key.isascii() and self.key.isprintable()):
            raise InputError("the endpoint's key must be printable ASCII")

    def chat(
        self,
        prompt: str,
        image: Image.Image | None = None,
        *,
        max_tokens: int = 256,
        sleep: Callable[[float], None] = time.sleep,
    ) -> str:
        """The reply to one user message, temperature 0.

        Raises:
            EndpointError: the server cannot be reached in all attempts, or refuses all requests.
            ReplyError: the server works, but refused this request.
        """
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
        if image is not None:
            content.insert(0, {"type": "image_url", "image_url": {"url": _data_url(image)}})
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": content if image else prompt}],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        reason, wait = "", 0.0
        for attempt in range(self.attempts):
            if attempt:
                sleep(max(wait, self.first_wait * 2 ** (attempt - 1)))
            try:
                return _reply(self._post(body))
            except urllib.error.HTTPError as error:
                reason, wait = f"HTTP {error.code}", _retry_after(error)
                if error.code in _REFUSED:
                    raise ReplyError(f"{self.url} refused a request ({reason})") from error
                if error.code not in _TRANSIENT:
                    break
            except (OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            except (ValueError, KeyError, IndexError, TypeError, RecursionError):
                reason = "the reply is not a chat completion"
        advice = _ADVICE.get(reason, "check that it runs")
        raise EndpointError(
            f"{self.url} gave no usable answer ({reason}): {advice}, then start again; "
            "finished rows are kept"
        )

    def _post(self, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            self.url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers
        )
        data = b""
        late = time.monotonic() + self.timeout
        with _OPENER.open(request, timeout=self.timeout) as response:
            # The socket's timeout applies to each read: a slow server could go on without end.
            while piece := response.read1(1 << 16):
                data += piece
                if len(data) > _MAX_REPLY_BYTES:
                    raise ValueError("too long")
                if time.monotonic() > late:
                    raise TimeoutError("timed out")
        return json.loads(data)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, which would send the key to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


class Patience:
    """Tolerates unusable replies of a judge or oracle, but not many in a row."""

    def __init__(self) -> None:
        self.unusable = 0

    def used(self) -> None:
        """Note a usable reply."""
        self.unusable = 0

    def lost(self, error: ReplyError) -> None:
        """Note an unusable reply.

        Raises:
            EndpointError: ``MOST_UNUSABLE`` of them in a row.
        """
        self.unusable += 1
        if self.unusable == MOST_UNUSABLE:
            raise EndpointError(
                f"{self.unusable} replies in a row could not be used, the last: {error}"
            ) from error


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds to wait as the server asks, at most ``_LONGEST_WAIT``; 0 if it does not say."""
    text = error.headers.get("Retry-After", "")
    return min(_LONGEST_WAIT, float(text)) if text.isdigit() else 0.0


def _reply(value: Any) -> str:
    text = value["choices"][0]["message"]["content"]
    if not isinstance(text, str):
        raise ValueError("no text")
    return text


def _data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
