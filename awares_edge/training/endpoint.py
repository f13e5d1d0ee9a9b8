"""A small client for OpenAI-compatible chat endpoints, with retries and back-off."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from PIL import Image

from awares_edge.controller.generated import Limits
from awares_edge.errors import DeadlineExceeded, EndpointError
from awares_edge.remote.address import Address
from awares_edge.remote.exchange import StatusError, TooLong
from awares_edge.remote.http import Backoff, Server
from awares_edge.remote.pictures import data_url
from awares_edge.training.errors import ReplyError

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
    _server: Server = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """
        Raises:
            InputError: ``url`` is not an HTTP address, or ``key`` cannot be sent in a header.
        """
        server = Server(Address.parse(self.url), self.key, silence=self.timeout)
        object.__setattr__(self, "_server", server)

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
            content.insert(
                0,
                {"type": "image_url", "image_url": {"url": data_url(image.convert("RGB"), "png")}},
            )
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": content if image else prompt}],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        reason, asked = "", 0.0
        for attempt in range(self.attempts):
            if attempt:
                sleep(Backoff(self.first_wait).wait(attempt, asked))
            asked = 0.0
            try:
                return _reply(self._post(body))
            except StatusError as error:
                reason, asked = str(error), error.wait
                if error.status in _REFUSED:
                    raise ReplyError(f"{self.url} refused a request ({reason})") from error
                if error.status not in _TRANSIENT:
                    break
            except DeadlineExceeded:
                reason = "timed out"
            except (OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
            except (TooLong, ValueError, KeyError, IndexError, TypeError, RecursionError):
                reason = "the reply is not a chat completion"
        advice = _ADVICE.get(reason, "check that it runs")
        raise EndpointError(
            f"{self.url} gave no usable answer ({reason}): {advice}, then start again; "
            "finished rows are kept"
        )

    def _post(self, body: dict[str, Any]) -> Any:
        url = f"{self._server.address.url}/chat/completions"
        limits = Limits(1, monotonic() + self.timeout)
        data = self._server.read("POST", url, json.dumps(body).encode(), limits, _MAX_REPLY_BYTES)
        return json.loads(data)


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


def _reply(value: Any) -> str:
    text = value["choices"][0]["message"]["content"]
    if not isinstance(text, str):
        raise ValueError("no text")
    return text
