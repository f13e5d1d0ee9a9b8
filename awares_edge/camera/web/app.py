"""The routes of the page."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from awares_edge._version import __version__
from awares_edge.camera.station import Station
from awares_edge.camera.web.feed import Feed
from awares_edge.camera.web.guard import OwnHeaders, SameOrigin
from awares_edge.camera.web.models import ModelChoices
from awares_edge.camera.web.options import MAX_JSON_BYTES, PageOptions
from awares_edge.camera.web.pictures import picture_of
from awares_edge.camera.web.requests import (
    AskBody,
    LoginBody,
    ModelBody,
    NoBody,
    RecordBody,
    SourceBody,
    read_request,
)
from awares_edge.errors import AwaresError
from awares_edge.httpd.guard import Guard, read_body
from awares_edge.httpd.refusals import Refusal, as_refusal, json_response

T = TypeVar("T")

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_NO_TOKEN = frozenset({"/", "/api/login"})
_NEWER = 1.0  # seconds that a request waits for a newer frame
_LOOK = 0.03  # seconds between two looks whether there is one
_HTTP_KINDS = {404: "no such path", 405: "this path has another method"}


@lru_cache(maxsize=1)
def static_files() -> dict[str, bytes]:
    """The page's files by name, read once: no request names a file of this machine."""
    folder = files("awares_edge.camera.web") / "static"
    found = {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}
    return {name: data for name, data in found.items() if _ending(name) in TYPES}


def _ending(name: str) -> str:
    return name[name.rfind(".") :]


def create_app(station: Station, models: ModelChoices, options: PageOptions) -> Any:
    """The ASGI application. `app.feed.end` ends the streams of events, as a server must before it
    can stop. Station and models are the caller's to close."""
    routes = _Routes(station, models, options)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        routes.feed.start()
        yield

    app = Starlette(
        routes=[
            Route(path, _answered(answer), methods=[method])
            for path, method, answer in routes.all()
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_error, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    # The files are not secret, and a browser without the token needs them to ask for it.
    open_paths = _NO_TOKEN | {f"/static/{name}" for name in static_files()}
    inner = SameOrigin(app, secure=options.secure)
    return _Application(
        OwnHeaders(Guard(inner, options, open_paths=open_paths, cookie=options.cookie)), routes.feed
    )


class _Application:
    """What a server runs, and the feed that must end before it."""

    def __init__(self, guarded: OwnHeaders, feed: Feed) -> None:
        self._guarded, self.feed = guarded, feed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._guarded(scope, receive, send)


class _Routes:
    """What each path answers."""

    def __init__(self, station: Station, models: ModelChoices, options: PageOptions) -> None:
        self._station, self._models, self._options = station, models, options
        self.feed = Feed(station)

    def all(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        return [
            ("/", "GET", self.page),
            ("/static/{name}", "GET", self.static),
            ("/api/login", "POST", self.login),
            ("/api/state", "GET", self.state),
            ("/api/choices", "GET", self.choices),
            ("/api/events", "GET", self.events),
            ("/api/frame.jpg", "GET", self.frame),
            ("/api/frame", "POST", self.push),
            ("/api/exchanges/{id:int}/{name}.jpg", "GET", self.picture),
            ("/api/ask", "POST", self.ask),
            ("/api/cancel", "POST", self.cancel),
            ("/api/source", "POST", self.source),
            ("/api/model", "POST", self.model),
            ("/api/record", "POST", self.record),
        ]

    # The page

    async def page(self, request: Request) -> Response:  # noqa: ARG002
        return _static("index.html")

    async def static(self, request: Request) -> Response:
        return _static(request.path_params["name"])

    async def login(self, request: Request) -> Response:
        """Change the token for a cookie, which pictures and events are fetched with."""
        body = await self._body(request, LoginBody)
        token = self._options.token
        if token is not None and not hmac.compare_digest(body.token.encode(), token.encode()):
            raise Refusal(401, "wrong token", kind="authentication_error", code="invalid_api_key")
        response = json_response({})
        if token is not None:
            response.set_cookie(
                self._options.cookie,
                token,
                httponly=True,
                samesite="strict",
                secure=self._options.secure,
            )
        return response

    # State and choices

    async def state(self, request: Request) -> Response:  # noqa: ARG002
        return json_response(await run_in_threadpool(self._state))

    def _state(self) -> dict[str, Any]:
        station = self._station
        return {
            "version": __version__,
            "model": self._models.describe(),
            "records": station.options.record_to is not None,
            "every": station.options.every,
            "state": asdict(station.state()),
            "exchanges": [exchange.to_dict() for exchange in station.history()],
        }

    async def choices(self, request: Request) -> Response:  # noqa: ARG002
        return json_response(await run_in_threadpool(self._choices))

    def _choices(self) -> dict[str, Any]:
        return {
            "sources": [asdict(source) for source in self._station.sources()],
            "source": self._station.state().source,
            "models": self._models.choices(),
            "model": self._models.describe()["name"],
        }

    async def events(self, request: Request) -> Response:  # noqa: ARG002
        self.feed.admit()
        return StreamingResponse(
            self.feed.follow(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def frame(self, request: Request) -> Response:
        """The freshest frame; 204 where there is none newer than `after` for a second."""
        after = request.query_params.get("after", "0")
        for _ in range(round(_NEWER / _LOOK)):
            shot = await run_in_threadpool(self._station.frame)
            # A newly chosen camera counts from 1 again.
            if shot is not None and str(shot.number) != after:
                headers = {"X-Frame": str(shot.number), "X-Age-Ms": f"{shot.age_ms:.0f}"}
                return Response(shot.jpeg, headers=headers, media_type="image/jpeg")
            await asyncio.sleep(_LOOK)
        return Response(status_code=204)

    async def picture(self, request: Request) -> Response:
        id, name = request.path_params["id"], request.path_params["name"]
        jpeg = await run_in_threadpool(picture_of, self._station, id, name)
        if jpeg is None:
            raise Refusal(404, "this picture is no longer kept", code="not_found")
        return Response(jpeg, media_type="image/jpeg")

    # Actions

    async def ask(self, request: Request) -> Response:
        body = await self._body(request, AskBody)
        number = self._station.ask(
            body.question, follow_up=body.follow_up, continuous=body.continuous, every=body.every
        )
        return json_response({"question_id": number})

    async def cancel(self, request: Request) -> Response:
        await self._body(request, NoBody)
        self._station.cancel()
        return json_response({})

    async def source(self, request: Request) -> Response:
        body = await self._body(request, SourceBody)
        await run_in_threadpool(self._station.use_source, body.source)
        return json_response({})

    async def model(self, request: Request) -> Response:
        body = await self._body(request, ModelBody)
        await run_in_threadpool(self._models.change, body.model, self._station.use_model)
        self.feed.tell({"kind": "model", **self._models.describe()})
        return json_response(self._models.describe())

    async def record(self, request: Request) -> Response:
        body = await self._body(request, RecordBody)
        await run_in_threadpool(self._station.record, body.on)
        return json_response({})

    async def push(self, request: Request) -> Response:
        jpeg = await read_body(request, self._options, "image/jpeg")
        await run_in_threadpool(self._station.push_frame, jpeg)
        return json_response({})

    async def _body(self, request: Request, cls: type[T]) -> T:
        body = await read_body(request, self._options)
        if len(body) > MAX_JSON_BYTES:
            raise Refusal(413, f"the request has over {MAX_JSON_BYTES:,} bytes", code="too_large")
        return read_request(body, cls)


def _static(name: str) -> Response:
    data = static_files().get(name)
    if data is None:
        raise Refusal(404, "no such path", code="not_found")
    # Files change with an update of the package, whose address stays the same.
    return Response(data, headers={"Cache-Control": "no-cache"}, media_type=TYPES[_ending(name)])


def _answered(
    answer: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A route whose errors are JSON."""

    async def route(request: Request) -> Response:
        try:
            return await answer(request)
        except (AwaresError, MemoryError) as error:
            return as_refusal(error, None).response()

    return route


async def _http_error(_: Request, error: Any) -> Response:
    message = _HTTP_KINDS.get(error.status_code, "the request cannot be answered")
    return Refusal(error.status_code, message, headers=error.headers).response()


async def _unexpected(_: Request, error: Exception) -> Response:
    return as_refusal(error, None).response()
