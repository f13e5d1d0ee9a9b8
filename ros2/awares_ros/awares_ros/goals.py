"""The action server: goals become tickets, and tickets results.

No goal holds a thread of the executor while it waits: it is executed when its question starts. Then
one thread waits, without computing, until the question ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import sleep
from typing import Any

from awares_msgs.action import Ask
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup

from awares_edge import AwaresError, live
from awares_ros.messages import answer_message, names, refusal_message

# How long a goal's state may take to become CANCELING after its cancel request was accepted.
_CANCELING_S = 1.0


@dataclass(slots=True)
class _Goal:
    """A goal that has a ticket."""

    handle: Any
    executing: bool = False
    stage: int | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)


class Goals:
    """Serves `~/ask`.

    Args:
        node: on which the action is.
        submit: makes a ticket of a goal; raises an `AwaresError` to refuse it.
        active: whether goals are taken.
    """

    def __init__(
        self, node: Any, submit: Callable[[Any], live.Ticket], active: Callable[[], bool]
    ) -> None:
        self._submit, self._active = submit, active
        self._lock = threading.Lock()
        self._goals: dict[live.Ticket, _Goal] = {}
        self._server = ActionServer(
            node,
            Ask,
            "~/ask",
            execute_callback=self._refuse,
            goal_callback=self._admit,
            handle_accepted_callback=self._accept,
            cancel_callback=self._cancel,
            callback_group=ReentrantCallbackGroup(),
        )

    def destroy(self) -> None:
        """Take the action server down."""
        self._server.destroy()

    def on_event(self, event: live.LiveEvent) -> None:
        """Follow a question; called with every event, on one thread."""
        with self._lock:  # a goal is known before its first event is looked up
            goal = self._goals.get(event.ticket)
        if goal is None:
            return
        if not goal.executing and isinstance(event, live.Started | live.Answered | live.Failed):
            goal.executing = True
            goal.handle.execute(lambda _: self._execute(event.ticket, goal))
        match event:
            case live.Started():
                _report(goal, Ask.Feedback.LOOKING)
            case live.Regions():
                _report(goal, Ask.Feedback.ZOOMING, names(event.crops))
            case live.Text():
                _report(goal, Ask.Feedback.ANSWERING)

    def _admit(self, _request: Any) -> Any:
        return GoalResponse.ACCEPT if self._active() else GoalResponse.REJECT

    def _accept(self, handle: Any) -> None:
        try:
            with self._lock:
                self._goals[self._submit(handle.request)] = _Goal(handle)
        except AwaresError as error:
            message = refusal_message(handle.request.question, error)
            handle.execute(lambda _: _abort(handle, message))

    def _cancel(self, handle: Any) -> Any:
        with self._lock:
            found = [(t, goal) for t, goal in self._goals.items() if goal.handle == handle]
        for ticket, goal in found:
            goal.cancelled.set()
            ticket.cancel()
        return CancelResponse.ACCEPT if found else CancelResponse.REJECT

    def _execute(self, ticket: live.Ticket, goal: _Goal) -> Any:
        """Wait for the ending; sets the goal's state and gives its result."""
        ending = ticket.wait()
        with self._lock:
            del self._goals[ticket]
        message = answer_message(ending)
        if isinstance(ending, live.Answered):
            goal.handle.succeed()
        elif goal.cancelled.is_set() and _is_canceling(goal.handle):
            goal.handle.canceled()
        else:
            goal.handle.abort()
        return Ask.Result(answer=message)

    def _refuse(self, handle: Any) -> Any:
        return _abort(handle, refusal_message(handle.request.question, AwaresError("no ticket")))


def _abort(handle: Any, message: Any) -> Any:
    handle.abort()
    return Ask.Result(answer=message)


def _is_canceling(handle: Any) -> bool:
    """Whether the goal's state is CANCELING: rclpy sets it after the cancel callback returns, on
    another thread than this one."""
    waited = 0.0
    while not handle.is_cancel_requested and waited < _CANCELING_S:
        sleep(0.001)
        waited += 0.001
    return bool(handle.is_cancel_requested)


def _report(goal: _Goal, stage: int, crop_names: list[str] | None = None) -> None:
    """Publish a stage when it begins."""
    if goal.stage == stage and not crop_names:
        return
    goal.stage = stage
    goal.handle.publish_feedback(Ask.Feedback(stage=stage, crop_names=crop_names or []))
