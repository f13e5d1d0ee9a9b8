"""Which source a text names, and what is connected here."""

from __future__ import annotations

from awares_edge.camera.sources.base import Source, SourceInfo
from awares_edge.camera.sources.pushed import PushedSource
from awares_edge.camera.sources.synthetic import SyntheticSource
from awares_edge.errors import InputError


def open_source(spec: str) -> Source:
    """The source that a text names; it is opened by `Camera`.

    Raises:
        InputError: it names none.
    """
    if spec == "synthetic":
        return SyntheticSource()
    if spec == "browser":
        return PushedSource()
    raise InputError(f"no source {spec!r}: choose synthetic or browser")


def find_sources() -> tuple[SourceInfo, ...]:
    """Sources that may be chosen here."""
    return (SyntheticSource.info, PushedSource.info)
