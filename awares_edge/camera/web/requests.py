"""What a page may send, as dataclasses that untrusted JSON is read into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from awares_edge.camera.web.options import MAX_INTERVAL
from awares_edge.errors import InputError
from awares_edge.protocol.prompt import MAX_QUESTION
from awares_edge.schema import Limits, Real, Text, parse_json, read_dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AskBody:
    """A question; `every` is the least seconds from one continuous question to the next."""

    question: str
    follow_up: bool = False
    continuous: bool = False
    every: float = 0.0


@dataclass(frozen=True, slots=True)
class SourceBody:
    """A source: the `spec` of one that is offered."""

    source: str


@dataclass(frozen=True, slots=True)
class ModelBody:
    """A model, by its name in the choices."""

    model: str


@dataclass(frozen=True, slots=True)
class RecordBody:
    """Whether to record."""

    on: bool


@dataclass(frozen=True, slots=True)
class LoginBody:
    """The server's token."""

    token: str


@dataclass(frozen=True, slots=True)
class NoBody:
    """An empty object."""


_LIMITS: Limits = {
    "question": Text(1, MAX_QUESTION),
    "every": Real(0.0, MAX_INTERVAL),
    "source": Text(1, 1024),
    "model": Text(1, 1024),
    "token": Text(1, 1024),
}


def read_request(body: bytes, cls: type[T]) -> T:
    """
    Raises:
        InputError: it is not a JSON object of this shape.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InputError("the request is not UTF-8") from error
    return read_dataclass(cls, parse_json(text, "the request"), "the request", _LIMITS)
