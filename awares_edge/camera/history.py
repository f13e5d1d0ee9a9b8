"""The exchanges of a station, what the model saw in them, and their sums."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import Any

from awares_edge.camera.camera import CameraStatus
from awares_edge.camera.events import (
    Answered,
    Asked,
    EventLog,
    Failed,
    Regions,
    Stats,
    Text,
    Thought,
    Unchanged,
)
from awares_edge.camera.exchange import Exchange, Looked, Seen
from awares_edge.camera.load import Load

_KEPT_VIEWS = 32
_AVERAGED = 20


@dataclass(slots=True)
class _Sums:
    answers: int = 0
    zoomed: int = 0
    visual_tokens: int = 0
    full_tokens: int = 0
    views: int = 0
    kept_views: int = 0
    regions: int = 0
    kept_regions: int = 0
    kept_tokens: int = 0
    unchanged: int = 0
    joules: float | None = None


class History:
    """Exchanges as they begin, grow and end; each step is added to the log.

    Args:
        most: exchanges that are remembered.
    """

    def __init__(self, log: EventLog, most: int) -> None:
        self.log = log
        self._most = most
        self._lock = threading.Lock()
        self._exchanges: OrderedDict[int, Exchange] = OrderedDict()
        self._seen: OrderedDict[int, Seen] = OrderedDict()
        self._frames: OrderedDict[int, bytes] = OrderedDict()
        self._times: deque[float] = deque(maxlen=_AVERAGED)
        self._sums = _Sums()
        self._last = 0

    def next_id(self) -> int:
        with self._lock:
            self._last += 1
            return self._last

    def begin(self, exchange: Exchange, frame: bytes) -> None:
        """
        Args:
            frame: JPEG of the frame.
        """
        with self._lock:
            self._exchanges[exchange.id] = exchange
            self._frames[exchange.id] = frame
            while len(self._frames) > _KEPT_VIEWS:
                self._frames.popitem(last=False)
            while len(self._exchanges) > self._most:
                self._exchanges.popitem(last=False)
        self.log.add(Asked(exchange))

    def change(self, id: int, **fields: Any) -> Exchange:
        """Change fields of an exchange that has begun."""
        with self._lock:
            changed = self._exchanges[id] = replace(self._exchanges[id], **fields)
            return changed

    def say(self, id: int, text: str) -> None:
        """A piece of the answer."""
        self.change(id, answer=self._exchanges[id].answer + text)
        self.log.add(Text(id, text))

    def think(self, id: int, text: str) -> None:
        """A piece of what the model says around its answer."""
        self.change(id, reasoning=self._exchanges[id].reasoning + text)
        self.log.add(Thought(id, text))

    def look(self, id: int, regions: tuple[Looked, ...]) -> None:
        """The model looks closer; the text before led up to that."""
        self.change(id, regions=self._exchanges[id].regions + regions, answer="")
        self.log.add(Regions(id, regions))

    def answer(self, id: int, seen: Seen, kept_tokens: int, **fields: Any) -> Exchange:
        """End an exchange with its answer."""
        exchange = self.change(id, state="done", **fields)
        with self._lock:
            self._seen[id] = seen
            while len(self._seen) > _KEPT_VIEWS:
                self._seen.popitem(last=False)
            self._times.append(exchange.total_ms)
            self._add(exchange, kept_tokens)
        self.log.add(Answered(exchange))
        return exchange

    def fail(self, id: int, message: str, *, cancelled: bool = False) -> None:
        """End an exchange without an answer."""
        state = "cancelled" if cancelled else "failed"
        self.change(id, state=state, error=message)
        self.log.add(Failed(id, message, cancelled))

    def stands(self, id: int, frame: int) -> None:
        """An answer stands, as nothing that the model saw has changed."""
        with self._lock:
            self._sums.unchanged += 1
        self.log.add(Unchanged(id, frame))

    def all(self) -> list[Exchange]:
        with self._lock:
            return list(self._exchanges.values())

    def get(self, id: int) -> Exchange | None:
        with self._lock:
            return self._exchanges.get(id)

    def seen(self, id: int) -> Seen | None:
        with self._lock:
            return self._seen.get(id)

    def frame(self, id: int) -> bytes | None:
        with self._lock:
            return self._frames.get(id)

    def stats(self, camera: CameraStatus, load: Load) -> Stats:
        with self._lock:
            times, sums = list(self._times), replace(self._sums)
        return Stats(
            fps=round(camera.fps, 2),
            frames=camera.frames,
            skipped=camera.skipped,
            last_ms=times[-1] if times else None,
            average_ms=sum(times) / len(times) if times else None,
            load=load,
            **{name: getattr(sums, name) for name in _Sums.__slots__},
        )

    def _add(self, exchange: Exchange, kept_tokens: int) -> None:
        sums, tokens = self._sums, exchange.visual_tokens
        sums.answers += 1
        sums.zoomed += exchange.zoomed
        sums.visual_tokens += tokens["low"] + tokens["crops"]
        sums.full_tokens += tokens["full"]
        sums.views += 1
        sums.kept_views += exchange.kept_view
        sums.regions += len(exchange.regions)
        sums.kept_regions += exchange.kept_regions
        sums.kept_tokens += kept_tokens
        if exchange.joules is not None:
            sums.joules = (sums.joules or 0.0) + exchange.joules
