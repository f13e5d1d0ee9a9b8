"""A small client for OpenAI-compatible chat endpoints, with retries and back-off."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from awares_edge.training.errors import EndpointError

# Worth another try: timeouts, rate limits, servers that restart.
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}


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
            EndpointError: no usable answer after all attempts.
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
        reason = ""
        for attempt in range(self.attempts):
            if attempt:
                sleep(self.first_wait * 2 ** (attempt - 1))
            try:
                return _reply(self._post(body))
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code}"
                if error.code not in _TRANSIENT:
                    break
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            except (ValueError, KeyError, IndexError, TypeError):
                reason = "a reply that is no chat completion"
        raise EndpointError(
            f"{self.url} gave no usable answer ({reason}): check that it runs, then start again; "
            "finished rows are kept"
        )

    def _post(self, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            self.url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            return json.load(response)


def _reply(value: Any) -> str:
    text = value["choices"][0]["message"]["content"]
    if not isinstance(text, str):
        raise ValueError("no text")
    return text


def _data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
