"""What a source of frames is. `Camera` drives it from one thread; people use `Camera`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias

from awares_edge.camera.frames import Pixels

Kind: TypeAlias = Literal[
    "synthetic", "device", "csi", "gstreamer", "rtsp", "http", "file", "folder", "browser"
]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A source that may be chosen.

    Attributes:
        spec: what `open_source` takes.
        name: for people.
        kind: of source.
    """

    spec: str
    name: str
    kind: Kind


class Source(ABC):
    """Frames from one place. Not thread-safe, except for `stop`.

    Attributes:
        info: how it is called.
        may_be_still: whether frames that are equal bit by bit are normal (a folder, a drawing).
            Those of a sensor never are: it is then frozen.
        suggestions: questions that make sense for what is shown now; empty if unknown.
    """

    info: SourceInfo
    may_be_still = False

    @property
    def suggestions(self) -> tuple[str, ...]:
        return ()

    @abstractmethod
    def open(self) -> None:
        """Begin, or begin again after `close`.

        Raises:
            CameraError: it is not there, or its format cannot be used; the message is one line.
        """

    @abstractmethod
    def grab(self) -> None:
        """Wait for the next frame; it is not decoded yet.

        Raises:
            CameraError: the source is lost; the message is one line.
        """

    @abstractmethod
    def retrieve(self) -> Pixels:
        """The frame that was grabbed last: uint8 [height, width, 3], RGB, nobody else's.

        Raises:
            CameraError: it cannot be decoded or used; the message is one line.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the device back. Closing twice is allowed."""

    def stop(self) -> None:  # noqa: B027
        """Make a `grab` in another thread return or raise soon. It may be called at any time."""
