"""What goes wrong with a server, as one line that says what to do."""

from __future__ import annotations

import http.client
import json
import ssl

from awares_edge.errors import AwaresError, ContextOverflow, EndpointError
from awares_edge.remote.exchange import StatusError, TooLong
from awares_edge.remote.key import KEY_VARIABLE
from awares_edge.schema import shown

_ADVICE = {
    401: f"set its key in {KEY_VARIABLE}",
    403: f"set a key that may use it in {KEY_VARIABLE}",
    404: "check the address (up to /v1) and the model's name",
    413: "ask about a smaller picture",
    429: "it is busy: try again later",
    503: "it is busy or stopping: try again later",
}
_TOO_LONG = ("exceed_context_size", "context_length", "maximum context length", "context size")
_MOST_SHOWN = 200


def explain(error: Exception, url: str) -> AwaresError:
    """The error to raise for one that a request to `url` raised."""
    if isinstance(error, StatusError):
        return _refused(error, url)
    if isinstance(error, TooLong):
        return EndpointError(f"{url}: {error}: check that it serves a chat model")
    if isinstance(error, TimeoutError):
        return EndpointError(f"{url} did not answer in time: check that it runs")
    if isinstance(error, ssl.SSLCertVerificationError):
        return EndpointError(f"{url} has a certificate that cannot be verified: add its authority")
    if isinstance(error, http.client.HTTPException):
        return EndpointError(f"{url} broke off its response: try again")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return EndpointError(f"cannot reach {url} ({shown(reason)[1:-1]}): check that it runs")


def unusable(url: str, what: str) -> EndpointError:
    """The error for a malformed response."""
    return EndpointError(f"{url} did not answer with a chat completion: {what}")


def said(body: object) -> str:
    """What an error object says, as servers shape it; empty where it says nothing."""
    if isinstance(body, dict):
        body = body.get("error", body)
        body = body.get("message", body.get("detail")) if isinstance(body, dict) else body
    return body if isinstance(body, str) else ""


def is_too_long(text: str) -> bool:
    """Whether a server's error says that the context is too short."""
    return any(sign in text for sign in _TOO_LONG)


def _refused(error: StatusError, url: str) -> AwaresError:
    text = error.body.decode("utf-8", "replace")
    try:
        reason = said(json.loads(text))
    except (ValueError, RecursionError):
        reason = ""
    if error.status == 400 and is_too_long(text):
        return ContextOverflow("picture and question do not fit into the server's context")
    if 300 <= error.status < 400:
        return EndpointError(f"{url} redirects to another address: use that one")
    detail = f": {shown(reason, _MOST_SHOWN)}" if reason else ""
    advice = _ADVICE.get(error.status, "see its log" if error.status >= 500 else "")
    return EndpointError(
        f"{url} refused a request (HTTP {error.status}{detail})" + (f": {advice}" if advice else "")
    )
