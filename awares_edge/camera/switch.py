"""The camera in use, and the sources that may take its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from awares_edge.camera.camera import Camera
from awares_edge.camera.sources import Source, SourceInfo, find_sources
from awares_edge.errors import InputError


class CameraSwitch:
    """One camera at a time.

    Args:
        specs: sources that are offered besides those found on this machine; the first one is used.
        opener: what `open_source` is.
        may_be_still: equal frames are normal, for any source.

    Attributes:
        camera: in use; connected.
    """

    def __init__(
        self, specs: Sequence[str], opener: Callable[[str], Source], *, may_be_still: bool
    ) -> None:
        self._opener, self._may_be_still = opener, may_be_still
        # Keyed by the text that may be shown: a URL without its password.
        self._offered = {opener(spec).info: spec for spec in specs}
        self._switching = threading.Lock()
        self.camera = self._connect(specs[0], 0)

    def choices(self) -> list[SourceInfo]:
        """Sources that may be chosen here, the current one first."""
        current = self.camera.source.info
        return list(dict.fromkeys((current, *self._offered, *find_sources())))

    def use(self, spec: str, before: Callable[[], None]) -> None:
        """Change to one of the `choices`.

        Args:
            before: called once the choice is known to be one.

        Raises:
            InputError: it is none of them.
        """
        with self._switching:
            chosen = next((info for info in self.choices() if info.spec == spec), None)
            if chosen is None:
                raise InputError(f"no source {spec!r} is offered here")
            source = self._opener(self._offered.get(chosen, spec))
            before()
            old, last = self.camera, self.camera.latest
            # Before the new one is connected: both may be the same device.
            old.disconnect()
            self.camera = self._connect(source, 0 if last is None else last.number)

    def close(self) -> None:
        """Disconnect the camera. Closing twice is allowed."""
        with self._switching:
            self.camera.disconnect()

    def _connect(self, source: str | Source, after: int) -> Camera:
        source = self._opener(source) if isinstance(source, str) else source
        camera = Camera(source, after=after, may_be_still=self._may_be_still)
        camera.connect()
        return camera
