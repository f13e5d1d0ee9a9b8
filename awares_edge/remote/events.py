"""The response to a chat completion request, streamed or whole, as chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from awares_edge.errors import EndpointError, InputError
from awares_edge.remote.exchange import Exchange
from awares_edge.remote.failures import unusable
from awares_edge.schema import parse_json

MAX_LINE = 4 << 20
"""Longest line of a stream, in bytes."""
_END = "[DONE]"


def chunks(exchange: Exchange, url: str) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed reply; a whole one as if it were one chunk.

    Raises:
        EndpointError: what comes is not a chat completion, or ends too early.
        TooLong, OSError, http.client.HTTPException: as `Exchange.pieces`.
    """
    if exchange.kind != "text/event-stream":
        yield _as_chunk(_parse(b"".join(exchange.pieces()), url), url)
        return
    ended = False
    for data in _data(_lines(exchange.pieces(), url)):
        if ended:
            continue  # Reading on to the end lets the connection be kept.
        if data == _END.encode():
            ended = True
        else:
            yield _parse(data, url)
    if not ended:
        raise EndpointError(f"{url} broke off its response: try again")


def _lines(pieces: Iterable[bytes], url: str) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        if len(held) > MAX_LINE:
            raise unusable(url, f"a line of its stream is over {MAX_LINE:,} bytes")
        yield from (line.rstrip(b"\r") for line in lines)
    if held:
        yield held.rstrip(b"\r")


def _data(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each event (WHATWG HTML, section 9.2.6); names and comments are left out."""
    data: list[bytes] = []
    for line in lines:
        if not line and data:
            yield b"\n".join(data)
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    if data:
        yield b"\n".join(data)


def _parse(data: bytes, url: str) -> dict[str, Any]:
    try:
        return parse_json(data.decode(), "the reply")
    except (UnicodeDecodeError, InputError):
        raise unusable(url, "it is not JSON") from None


def _as_chunk(body: dict[str, Any], url: str) -> dict[str, Any]:
    """A whole completion in the shape of a chunk."""
    if "error" in body:
        return body
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise unusable(url, "it has no choices")
    first = {**choices[0], "delta": choices[0].get("message")}
    return {**body, "choices": [first]}
