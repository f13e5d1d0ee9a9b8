"""Errors in OpenAI's JSON shape, each with the HTTP status that clients act on."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from awares_edge.errors import (
    AwaresError,
    Cancelled,
    ContextOverflow,
    DeadlineExceeded,
    ImageError,
    InputError,
)

CLIENT_LEFT = 499
"""Status in the metrics where the client left before its answer; it is never received."""


class Refusal(AwaresError):
    """A request that is not answered.

    Attributes:
        status: HTTP status.
        kind: OpenAI's `type`: invalid_request_error, authentication_error, server_error, ...
        code: what happened, for programs.
        param: the field of the request that is at fault.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.code, self.param = status, kind, code, param
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> Response:
        return json_response(self.body(), self.status, self.headers)


def json_response(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Only ASCII: text with half a surrogate pair, as JSON can spell it, has no UTF-8."""
    return Response(json.dumps(body), status, headers, "application/json")


def unsupported(param: str, message: str) -> Refusal:
    """A parameter that this server cannot honour."""
    return Refusal(400, message, code="unsupported_parameter", param=param)


def stopping() -> Refusal:
    """The server does not answer any more."""
    return Refusal(503, "the server is stopping", kind="server_error", code="stopping")


def as_refusal(error: Exception, param: str | None = "messages") -> Refusal:
    """The message for a client whose question failed while it was answered.

    Args:
        param: the field of the request that holds question and picture.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ContextOverflow):
        return Refusal(400, str(error), code="context_length_exceeded", param=param)
    if isinstance(error, ImageError):
        return Refusal(400, str(error), code="invalid_image", param=param)
    if isinstance(error, InputError):
        return Refusal(400, str(error), param=param)
    if isinstance(error, DeadlineExceeded):
        return Refusal(504, "the answer took too long", kind="server_error", code="timeout")
    if isinstance(error, Cancelled):
        return Refusal(CLIENT_LEFT, str(error), kind="server_error", code="cancelled")
    if isinstance(error, MemoryError):
        message = "not enough memory for this request: send a smaller picture"
        return Refusal(503, message, kind="server_error", code="out_of_memory")
    message = str(error) if isinstance(error, AwaresError) else "the server failed"
    return Refusal(500, message, kind="server_error", code="internal_error")


async def unexpected(_: Request, error: Exception) -> Response:
    """The response to an error that no route handles. uvicorn closes the connection after it, which
    a client that would use it again must be able to see."""
    refusal = as_refusal(error, None)
    refusal.headers["Connection"] = "close"
    return refusal.response()
