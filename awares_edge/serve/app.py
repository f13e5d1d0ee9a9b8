"""The routes of the server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from time import perf_counter
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from awares_edge._version import __version__
from awares_edge.controller import Model
from awares_edge.errors import AwaresError
from awares_edge.httpd.guard import Guard, read_body
from awares_edge.httpd.refusals import Refusal, as_refusal, json_response
from awares_edge.schema import shown
from awares_edge.serve.chat import Chat
from awares_edge.serve.options import ServeOptions
from awares_edge.serve.requests import ChatRequest

_CHAT = "/v1/chat/completions"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_HTTP_KINDS = {404: "no such path", 405: "this path has another method"}


def create_app(model: Model, options: ServeOptions) -> Any:
    """The ASGI application: FastAPI behind the guard.

    `app.chat.draining` refuses new questions. The model is the caller's to close, after the
    application's lifespan has ended.
    """
    chat = Chat(model, options)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            chat.close()

    # No documentation pages: they would load scripts from elsewhere.
    app = FastAPI(
        title="awares-edge",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.router.route_class = _PlainRoute
    routes = _Routes(model, options, chat)
    for path, method, answer in routes.all():
        app.add_api_route(
            path,
            _counted(chat, answer),
            methods=[method],
            name=path,
            openapi_extra={"parameters": [_NAME]} if "{name" in path else None,
        )
    for path, probe in (("/healthz", routes.health), ("/readyz", routes.ready)):
        # Some orchestrators probe with HEAD.
        app.add_api_route(path, _counted(chat, probe), methods=["HEAD"], include_in_schema=False)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    app.openapi = lambda: _describe(app)
    guarded = Guard(app, options)
    return _Application(guarded, chat)


class _PlainRoute(APIRoute):  # type: ignore[misc]
    """A route that takes a request and returns a response. FastAPI's own looks for parameters and
    dependencies at each request, and these have none."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:
        return self.endpoint  # type: ignore[no-any-return]


class _Application:
    """What a server runs: the guarded routes, and the chat behind them."""

    def __init__(self, guarded: Guard, chat: Chat) -> None:
        self._guarded, self.chat = guarded, chat

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._guarded(scope, receive, send)


class _Routes:
    """What each path answers."""

    def __init__(self, model: Model, options: ServeOptions, chat: Chat) -> None:
        self._options, self._chat = options, chat
        self._context = model.runtime.context
        self._about = {
            "runtime": model.runtime.name,
            "precision": model.runtime.precision,
            "device": model.runtime.device,
            "protocol": model.protocol.name,
        }
        self._profile = asdict(model.protocol)
        self._created = int(time.time())

    def all(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        return [
            (_CHAT, "POST", self.chat),
            ("/v1/models", "GET", self.models),
            ("/v1/models/{name:path}", "GET", self.model),
            ("/props", "GET", self.props),
            ("/metrics", "GET", self.metrics),
            ("/healthz", "GET", self.health),
            ("/readyz", "GET", self.ready),
        ]

    async def chat(self, request: Request) -> Response:
        with self._chat.admitted():
            arrived = perf_counter()
            body = await read_body(request, self._options)
            return await self._chat.reply(request, body, arrived)

    async def models(self, request: Request) -> Response:  # noqa: ARG002
        return json_response({"object": "list", "data": [self._entry()]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name != self._options.model_name:
            raise Refusal(404, f"no model {shown(name)}", code="model_not_found", param="model")
        return json_response(self._entry())

    async def props(self, request: Request) -> Response:  # noqa: ARG002
        """llama.cpp's properties, as far as there is something to say."""
        body = {
            "default_generation_settings": {"n_ctx": self._context, "temperature": 0.0},
            "total_slots": self._options.parallel,
            "model_alias": self._options.model_name,
            "modalities": {"vision": True, "audio": False},
            "chat_template": "",
            "chat_template_caps": {"supports_tools": False},
            "build_info": f"awares-edge {__version__}",
            "awares": {**self._about, "profile": self._profile},
        }
        return json_response(body)

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        return Response(self._chat.metrics.text(), headers={"Content-Type": _METRICS_TYPE})

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:  # noqa: ARG002
        if self._chat.draining:
            raise Refusal(503, "the server is stopping", kind="server_error", code="stopping")
        return json_response({"status": "ready"})

    def _entry(self) -> dict[str, Any]:
        modalities = {"input_modalities": ["text", "image"], "output_modalities": ["text"]}
        return {
            "id": self._options.model_name,
            "object": "model",
            "created": self._created,
            "owned_by": "awares-edge",
            "max_model_len": self._context,
            "architecture": {"modality": "text+image->text", **modalities},
            **modalities,
            "meta": {"n_ctx": self._context},
            "awares": self._about,
        }


def _counted(
    chat: Chat, answer: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """A route whose errors have OpenAI's shape, and whose chat requests are counted."""

    async def route(request: Request) -> Response:
        try:
            response = await answer(request)
        except (AwaresError, MemoryError) as error:
            response = as_refusal(error).response()
        if request.scope["path"] == _CHAT:
            chat.metrics.request(response.status_code)
        return response

    return route


async def _http_error(_: Request, error: Any) -> Response:
    message = _HTTP_KINDS.get(error.status_code, "the request cannot be answered")
    return Refusal(error.status_code, message, headers=error.headers).response()


async def _unexpected(_: Request, error: Exception) -> Response:
    return as_refusal(error).response()


def _describe(app: Any) -> dict[str, Any]:
    """The OpenAPI document. The body's schema is added: the route reads the body itself, to bound
    its size and time."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schema = ChatRequest.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = schema.pop("$defs", {})
        document.setdefault("components", {}).setdefault("schemas", {}).update(
            {**parts, "ChatRequest": schema}
        )
        body = {"$ref": "#/components/schemas/ChatRequest"}
        document["paths"][_CHAT]["post"]["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
        app.openapi_schema = document
    return dict(app.openapi_schema)
