"""Events of a station for any number of pages, which open and close at any time.

A page gets whole exchanges instead of pieces of text: if it missed some, the next event about the
exchange has all of it. A slow page therefore gets fewer events, not older ones.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterable
from typing import Any

from awares_edge.camera.events import (
    Answered,
    Asked,
    Failed,
    Regions,
    StationEvent,
    Text,
    Thought,
)
from awares_edge.camera.station import Station
from awares_edge.camera.web.options import MAX_PAGES
from awares_edge.httpd.refusals import Refusal

_PAUSE = 0.04  # seconds in which events are collected
_BEAT = 15.0  # seconds without an event after which a comment shows that the server is there


class Feed:
    """One thread that waits for the station's events, and wakes the pages that follow."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: set[asyncio.Event] = set()
        self._news: tuple[int, dict[str, Any]] = (0, {})
        self._ended = False

    @property
    def pages(self) -> int:
        """How many pages follow."""
        return len(self._woken)

    def start(self) -> None:
        """Begin; call it in the event loop."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._watch, name="feed", daemon=True).start()

    def end(self) -> None:
        """End every `follow` soon; call it in the event loop."""
        self._ended = True
        self._wake()

    def tell(self, body: dict[str, Any]) -> None:
        """Send all pages an event that is not the station's. Call it in the event loop.

        Only the newest is kept: a page that is slow misses those before.
        """
        self._news = (self._news[0] + 1, body)
        self._wake()

    def admit(self) -> None:
        """
        Raises:
            Refusal: too many pages follow already.
        """
        if len(self._woken) >= MAX_PAGES:
            raise Refusal(
                503, "too many pages are open: close one", kind="server_error", code="too_many"
            )

    async def follow(self) -> AsyncIterator[bytes]:
        """Server-sent events from now on, until the page leaves or the server ends."""
        woken = asyncio.Event()
        self._woken.add(woken)
        number, told = self._station.last_event, self._news[0]
        try:
            yield b": hello\n\n"
            while not self._ended:
                try:
                    await asyncio.wait_for(woken.wait(), _BEAT)
                except asyncio.TimeoutError:
                    yield b": still here\n\n"
                    continue
                woken.clear()
                events = self._station.events_after(number)
                bodies = merged(events, self._station)
                if self._news[0] != told:
                    told = self._news[0]
                    bodies.append(self._news[1])
                if bodies:
                    number = events[-1].number if events else number
                    yield b"".join(map(_sse, bodies))
                    await asyncio.sleep(_PAUSE)
        finally:
            self._woken.discard(woken)

    def _watch(self) -> None:
        assert self._loop is not None
        for _ in self._station.events():
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the loop is closed: the server has ended
                return

    def _wake(self) -> None:
        for woken in self._woken:
            woken.set()


def merged(events: Iterable[StationEvent], station: Station) -> list[dict[str, Any]]:
    """What a page must know after these events: each exchange and each kind of number once."""
    found: dict[object, dict[str, Any]] = {}
    for event in events:
        payload = event.event
        if isinstance(payload, (Asked, Answered)):
            number = payload.exchange.id
        elif isinstance(payload, (Text, Thought, Regions, Failed)):
            number = payload.id
        else:
            number = 0
        if number and (exchange := station.exchange(number)) is not None:
            found[number] = {"kind": "exchange", "exchange": exchange.to_dict()}
        elif not number:
            found[payload.kind] = event.to_dict()
    return list(found.values())


def _sse(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
