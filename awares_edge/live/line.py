"""The questions that wait: their order, how many may wait, and which are superseded."""

from __future__ import annotations

from collections import deque
from typing import Literal, TypeAlias, get_args

from awares_edge.errors import InputError, QueueFull
from awares_edge.live.ticket import Ticket

Policy: TypeAlias = Literal["newest", "queue"]
"""What waits while the worker is busy. "newest": only questions about the newest frame, and about
sources; those about older frames are superseded. "queue": every question, in its order."""


class Line:
    """A bounded line of waiting tickets. Not safe for threads: the asker holds its lock.

    Args:
        policy: who gives way to whom.
        most: tickets that may wait.
    """

    def __init__(self, policy: Policy, most: int) -> None:
        if policy not in get_args(Policy):
            raise InputError(f"policy must be {' or '.join(get_args(Policy))}, not {policy!r}")
        if type(most) is not int or most < 1:
            raise InputError("most_waiting must be a whole number of at least 1")
        self._policy, self._most = policy, most
        self._waiting: deque[Ticket] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, ticket: Ticket) -> list[Ticket]:
        """Let a ticket wait.

        Returns:
            the tickets that give way to a newer frame, in their order; it may be this one.

        Raises:
            QueueFull: as many wait as may; the line is unchanged.
        """
        older: list[Ticket] = []
        if self._policy == "newest" and ticket.frame is not None:
            taken = ticket.frame.taken
            frames = [one.frame.taken for one in self._waiting if one.frame is not None]
            if any(taken < other for other in frames):
                return [ticket]
            older = [one for one in self._waiting if one.frame and one.frame.taken < taken]
        if len(self._waiting) - len(older) >= self._most:
            raise QueueFull(
                f"{len(self)} questions wait already: ask again when one of them has ended"
            )
        for one in older:
            self._waiting.remove(one)
        self._waiting.append(ticket)
        return older

    def pop(self) -> Ticket:
        """The ticket that has waited longest."""
        return self._waiting.popleft()

    def remove(self, ticket: Ticket) -> bool:
        """Take a ticket out; whether it was waiting."""
        if ticket not in self._waiting:
            return False
        self._waiting.remove(ticket)
        return True

    def clear(self) -> list[Ticket]:
        """Take all tickets out."""
        tickets = list(self._waiting)
        self._waiting.clear()
        return tickets
