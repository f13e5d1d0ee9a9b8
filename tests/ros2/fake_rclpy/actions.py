"""Action servers: states of goals and what may follow what, as in rcl_action."""

import threading
import time
from concurrent.futures import Future
from enum import Enum

from tests.ros2.fake_rclpy.graph import GRAPH
from tests.ros2.fake_rclpy.messages import transmitted


class GoalResponse(Enum):
    REJECT = 1
    ACCEPT = 2


class CancelResponse(Enum):
    REJECT = 1
    ACCEPT = 2


# rcl_action, goal_state_machine.c: by event and state, the next state. All else is an error.
_NEXT = {
    ("execute", "accepted"): "executing",
    ("cancel_goal", "accepted"): "canceling",
    ("cancel_goal", "executing"): "canceling",
    ("succeed", "executing"): "succeeded",
    ("succeed", "canceling"): "succeeded",
    ("abort", "executing"): "aborted",
    ("abort", "canceling"): "aborted",
    ("canceled", "canceling"): "canceled",
}


class ServerGoalHandle:
    def __init__(self, server, goal_id, goal, client):
        self._server, self.goal_id, self.request, self._client = server, goal_id, goal, client
        self._lock = threading.Lock()
        self.state, self.done = "accepted", Future()

    def __eq__(self, other):
        return self.goal_id == other.goal_id

    __hash__ = None

    @property
    def is_active(self):
        return self.state in ("accepted", "executing", "canceling")

    @property
    def is_cancel_requested(self):
        return self.state == "canceling"

    def update(self, event):
        with self._lock:
            if (event, self.state) not in _NEXT:
                raise RuntimeError(f"{event} is invalid for a goal that is {self.state}")
            self.state = _NEXT[event, self.state]

    def execute(self, execute_callback=None):
        if not self.is_cancel_requested:
            self.update("execute")
        self._server.notify_execute(self, execute_callback)

    def publish_feedback(self, feedback):
        assert isinstance(feedback, self._server.kind.Feedback)
        self._client.feedback.append(transmitted(feedback))

    def succeed(self):
        self.update("succeed")

    def abort(self):
        self.update("abort")

    def canceled(self):
        self.update("canceled")


class ActionServer:
    def __init__(
        self,
        node,
        action_type,
        action_name,
        execute_callback,
        *,
        callback_group=None,
        goal_callback=lambda _: GoalResponse.ACCEPT,
        handle_accepted_callback=lambda handle: handle.execute(),
        cancel_callback=lambda _: CancelResponse.REJECT,
    ):
        self.kind, self._node = action_type, node
        self._name = node.full_name(action_name)
        self._execute_callback, self._goal_callback = execute_callback, goal_callback
        self._accepted_callback, self._cancel_callback = handle_accepted_callback, cancel_callback
        self._group = callback_group or node.default_callback_group
        GRAPH.actions[self._name] = self

    def request(self, goal_id, goal, client):
        """A goal has come; the future of its handle, None where it is rejected."""
        return self._node.executor.schedule(self._group, self._take_goal, goal_id, goal, client)

    def request_cancel(self, handle):
        """A cancel request has come; the future of whether it is accepted."""
        return self._node.executor.schedule(self._group, self._take_cancel, handle)

    def notify_execute(self, handle, execute_callback):
        callback = execute_callback or self._execute_callback
        self._node.executor.create_task(self._execute, callback, handle)

    def destroy(self):
        del GRAPH.actions[self._name]

    def _take_goal(self, goal_id, goal, client):
        if self._goal_callback(goal) is not GoalResponse.ACCEPT:
            return None
        handle = ServerGoalHandle(self, goal_id, goal, client)
        self._accepted_callback(handle)
        return handle

    def _take_cancel(self, handle):
        if not handle.is_active:
            return False
        if self._cancel_callback(handle) is not CancelResponse.ACCEPT:
            return False
        # As in rclpy, the state changes after the callback has returned; here, a good while after.
        time.sleep(0.02)
        handle.update("cancel_goal")
        return True

    def _execute(self, callback, handle):
        try:
            result = callback(handle)
        except Exception as error:
            result = self.kind.Result()
            self._node.get_logger().error(f"Error raised in execute callback: {error}")
        if handle.is_active:
            self._node.get_logger().warning("Goal state not set, assuming aborted.")
            handle.abort()
        handle.done.set_result((handle.state, result))
