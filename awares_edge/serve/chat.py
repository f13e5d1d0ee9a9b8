"""One chat completion: from the checked request to its reply, streamed or not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from awares_edge.controller import (
    AskOptions,
    CropsRequested,
    Event,
    Model,
    ReasoningDelta,
    TextDelta,
)
from awares_edge.httpd.refusals import CLIENT_LEFT, Refusal, as_refusal, json_response
from awares_edge.serve import replies
from awares_edge.serve.conversation import NO_PICTURE, Conversation, read_conversation
from awares_edge.serve.grammar import JsonAnswers, instructions, json_schema
from awares_edge.serve.images import read_images
from awares_edge.serve.metrics import Metrics, Pace
from awares_edge.serve.options import MAX_ARRIVING, ServeOptions
from awares_edge.serve.requests import ChatRequest, read_request
from awares_edge.serve.shown import CALL_TOKENS, Shown, shortener
from awares_edge.serve.worker import Answered, Question, Worker

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request on its way.

    Attributes:
        limit: most tokens of its answer.
    """

    request: ChatRequest
    ignored: tuple[str, ...]
    conversation: Conversation
    head: replies.Heading
    shown: Shown
    limit: int


class Chat:
    """Answers chat completions with one model.

    Attributes:
        draining: whether new questions are refused because the server is about to stop.
    """

    def __init__(self, model: Model, options: ServeOptions) -> None:
        self._model, self._options = model, options
        self._worker = Worker(model, options)
        self._answers = JsonAnswers(model)
        slots = self._worker.slots
        store = self._worker.store
        self.metrics = Metrics(
            lambda: slots.running, lambda: slots.waiting, lambda: store.saved_counts
        )
        self.draining = False
        self._admitted = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place for a request whose body is about to be read: bodies take memory.

        Raises:
            Refusal: 429, there are as many as can run, wait and arrive.
        """
        options = self._options
        if self._admitted >= options.parallel + options.waiting + MAX_ARRIVING:
            raise self._worker.slots.full()
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def reply(self, http: Request, body: bytes, arrived: float) -> Response:
        """The response to one request.

        Args:
            arrived: `perf_counter()` at which it came.

        Raises:
            Refusal, AwaresError: it cannot be answered; nothing has been sent.
        """
        if self.draining:
            raise Refusal(503, "the server is stopping", kind="server_error", code="stopping")
        request, ignored = read_request(body, self._options)
        conversation = read_conversation(request.messages)
        limit = min(request.limit or self._options.max_tokens, self._options.max_tokens)
        shown = Shown(request.stops, shortener(self._model, limit))
        head = replies.Heading(self._options.model_name)
        asked = _Asked(request, ignored, conversation, head, shown, limit)
        if not conversation.images:
            return self._without_picture(asked)
        question = self._question(asked, arrived)
        if request.stream:
            return await self._streamed(http, asked, question)
        future = self._worker.start(question)
        return self._whole(asked, question, await _while_connected(http, future, future))

    def close(self) -> None:
        """Cancel questions that still run, and give all memory back. Closing twice is allowed."""
        self._worker.close()

    def _question(self, asked: _Asked, arrived: float) -> Question:
        wanted = asked.request.response_format
        text = asked.conversation.question
        if (schema := json_schema(wanted)) is not None:
            if self._model.protocol.answer.rule != "text" or self._model.protocol.reasoning:
                reason = "this model writes tags around its answers: leave response_format out"
                raise Refusal(400, reason, code="unsupported_value", param="response_format")
            text = f"{text}\n{instructions(schema)}"
        tokens = max(asked.limit, CALL_TOKENS)
        asked.request.awares.options()  # What contradicts itself is refused before it waits.

        def ask(left: float, cancel: threading.Event) -> AskOptions:
            # Here, because a large schema takes long, and this runs on a question's own thread.
            grammar = None if schema is None else self._answers.grammar(schema)
            return asked.request.awares.options(
                max_new_tokens=tokens, timeout=left, cancel=cancel, grammar=grammar
            )

        images = read_images(asked.conversation.images, self._options)
        return Question(text, images, ask, Pace(arrived))

    def _whole(self, asked: _Asked, question: Question, answered: Answered) -> Response:
        text = asked.shown.feed(answered.answer.text) + asked.shown.close()
        finish = asked.shown.finish(answered.answer)
        self._count(question, answered)
        usage = replies.usage(answered.answer)
        more = self._more(asked, answered)
        thought = answered.answer.reasoning
        body = replies.completion(asked.head, text, finish, usage, more, thought)
        return json_response(body)

    async def _streamed(self, http: Request, asked: _Asked, question: Question) -> Response:
        """Wait for the first piece, so that whatever fails before it has its own HTTP status."""
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        future = self._worker.start(question, events.put_nowait)
        future.add_done_callback(lambda _: events.put_nowait(None))
        pieces = self._pieces(asked, question, events, future)
        first = await _while_connected(http, future, anext(pieces))

        async def body() -> AsyncIterator[bytes]:
            try:
                yield first
                async for piece in pieces:
                    yield piece
            finally:  # the client may have left
                await pieces.aclose()

        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(body(), headers=headers, media_type="text/event-stream")

    async def _pieces(
        self,
        asked: _Asked,
        question: Question,
        events: asyncio.Queue[Event | None],
        future: asyncio.Future[Answered],
    ) -> AsyncGenerator[bytes, None]:
        opening = replies.sse(_opening(asked.head))
        try:
            while (event := await events.get()) is not None:
                for piece in self._shown_pieces(asked, event):
                    yield opening + piece
                    opening = b""
            answered = future.result()
        except Exception as error:
            if opening:
                raise
            # The status is sent already: an error object is what OpenAI's clients look for.
            yield replies.sse(as_refusal(error).body())
            return
        finally:
            future.cancel()
        self._count(question, answered)
        yield opening + self._ending(asked, answered)

    def _shown_pieces(self, asked: _Asked, event: Event) -> list[bytes]:
        """The chunks that an event makes."""
        if isinstance(event, CropsRequested):
            asked.shown.restart()
            zooming = {"zooming": replies.crops(event)}
            return [replies.sse(replies.chunk(asked.head, {}, awares=zooming))]
        if isinstance(event, ReasoningDelta):
            thought = {"reasoning_content": event.text}
            return [replies.sse(replies.chunk(asked.head, thought))]
        text = asked.shown.feed(event.text) if isinstance(event, TextDelta) else ""
        return [replies.sse(replies.chunk(asked.head, {"content": text}))] if text else []

    def _ending(self, asked: _Asked, answered: Answered | None) -> bytes:
        """What is left of the text, the reason it ended, and the counts where they are wanted."""
        out = b""
        if text := asked.shown.close():
            out += replies.sse(replies.chunk(asked.head, {"content": text}))
        answer = answered.answer if answered else None
        finish = asked.shown.finish(answer) if answer else "stop"
        more = self._more(asked, answered)
        out += replies.sse(replies.chunk(asked.head, {}, finish, **more))
        if asked.request.include_usage:
            out += replies.sse(replies.usage_chunk(asked.head, replies.usage(answer)))
        return out + replies.sse("[DONE]")

    def _without_picture(self, asked: _Asked) -> Response:
        """The fixed reply: clients probe a server with only a text, and expect 200."""
        if json_schema(asked.request.response_format) is not None:
            raise Refusal(400, "there is no picture to answer about", param="messages")
        # A notice of the server: stop texts and token limits are for answers.
        asked = replace(asked, shown=Shown())
        if asked.request.stream:
            said = b"".join(self._shown_pieces(asked, TextDelta(NO_PICTURE)))
            body = replies.sse(_opening(asked.head)) + said + self._ending(asked, None)
            return Response(body, media_type="text/event-stream")
        more, usage = self._more(asked, None), replies.usage(None)
        return json_response(replies.completion(asked.head, NO_PICTURE, "stop", usage, more))

    def _more(self, asked: _Asked, answered: Answered | None) -> dict[str, Any]:
        sent = asked.conversation.images_sent
        if answered is None:
            return {"awares": replies.extension(None, (), sent, asked.ignored)}
        more = replies.extension(answered.answer, answered.cells, sent, asked.ignored)
        return {"timings": replies.timings(answered.answer), "awares": more}

    def _count(self, question: Question, answered: Answered) -> None:
        ended = perf_counter() - question.pace.arrived
        self.metrics.answer(answered.answer, question.pace, ended)


def _opening(head: replies.Heading) -> dict[str, Any]:
    return replies.chunk(head, {"role": "assistant", "content": ""})


async def _while_connected(
    http: Request, future: asyncio.Future[Answered], wanted: Awaitable[_T]
) -> _T:
    """What is wanted. A client that leaves cancels the future, which gives its question up."""

    async def watch() -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass
        future.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await wanted
    except asyncio.CancelledError:
        if not watching.done():  # the server stops
            raise
        raise Refusal(CLIENT_LEFT, "the client left", kind="server_error") from None
    finally:
        watching.cancel()
