"""Sources to choose from, by ids of the page's own: a source's text may hold a password."""

from __future__ import annotations

import threading
from typing import Any

from awares_edge.camera.station import Station
from awares_edge.errors import InputError
from awares_edge.schema import shown

BROWSER = "browser"
"""Kind, and id, of the source whose frames a page sends."""


class SourceChoices:
    """What the station was started with, what it finds here, and this browser's camera.

    A page names a choice; nothing else can be opened.
    """

    def __init__(self, station: Station) -> None:
        self._station = station
        self._lock = threading.Lock()
        self._ids: dict[str, str] = {}

    def choices(self) -> list[dict[str, Any]]:
        """Each choice with its id, a name for people, and its kind."""
        return [
            {"id": self.id_of(source.spec), "name": source.name, "kind": source.kind}
            for source in self._station.sources()
        ]

    def id_of(self, spec: str) -> str:
        """The id of a source; the same one for as long as the server runs."""
        with self._lock:
            new = BROWSER if spec == BROWSER else f"source-{len(self._ids) + 1}"
            return self._ids.setdefault(spec, new)

    def spec_of(self, id: str) -> str:
        """
        Raises:
            InputError: no source that was offered has this id.
        """
        with self._lock:
            for spec, known in self._ids.items():
                if known == id:
                    return spec
        raise InputError(f"no source {shown(id)} to choose from")

    def state(self, event: dict[str, Any]) -> dict[str, Any]:
        """A "state" event for a page."""
        return {**event, "source": self.id_of(event["source"])}
