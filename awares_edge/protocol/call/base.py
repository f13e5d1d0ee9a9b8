"""What every way of writing a call has in common.

none      an answer
ok        a call as it is trained, and nothing behind it
repaired  a call that can be understood, with something dropped or corrected
invalid   neither an answer nor a call that can be followed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

CallStatus: TypeAlias = Literal["none", "ok", "repaired", "invalid"]


@dataclass(frozen=True, slots=True)
class Request:
    """One region that a call asks for; without id and box it is the whole picture.

    Attributes:
        id: of the crop set.
        box: four numbers as the model wrote them.
        reference: which picture the box is in, as the model wrote it; None where it did not.
    """

    id: str = ""
    box: tuple[float, float, float, float] | None = None
    reference: str | int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What a reply asks for.

    Attributes:
        status: see the module.
        requests: regions in the order asked for; empty unless ok or repaired.
        problem: error message about an invalid call, sent to the model if its protocol does so.
    """

    status: CallStatus
    requests: tuple[Request, ...] = ()
    problem: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the crop set that are asked for."""
        return tuple(request.id for request in self.requests)


class Grammar(Protocol):
    """Which texts are, or can become, a call."""

    def viable(self, text: str) -> bool:
        """Can `text` still become a call (or is it one already)?"""
        ...

    def complete(self, text: str) -> bool:
        """Is `text` a call, to the last character?"""
        ...


class CallSyntax(Protocol):
    """One way of writing a call: rendered, recognised and read by the same object.

    Where a call begins is defined here, once, for the decoder, the grammar and the parser.

    Attributes:
        marker: text that every call holds at its beginning.
        grammar: of a call, from where `find` says that it begins.
    """

    @property
    def marker(self) -> str: ...

    @property
    def grammar(self) -> Grammar: ...

    def find(self, text: str) -> int | None:
        """Where the first call in `text` begins; None where there is none."""
        ...

    def first_sign(self, text: str) -> int | None:
        """Where `text` stops being an answer; None where it has not."""
        ...

    def call_start(self, reply: str) -> int | None:
        """Where a complete reply stops being an answer; None where all of it is one."""
        ...

    def certain(self, text: str) -> int:
        """How many characters of `text` are not part of a call, however it continues."""
        ...

    def parse(self, reply: str) -> Call:
        """Read the call in a complete reply."""
        ...

    def examples(self) -> Sequence[str]:
        """Calls in their trained form that differ in every decision of the model."""
        ...

    def fixed_rest(self, text: str) -> str:
        """What must follow where `text`, a call so far, leaves nothing to decide; or nothing."""
        ...
