"""Lifecycle nodes: their states, what may follow what, and publishers that only active ones use."""

from enum import Enum
from typing import NamedTuple

from tests.ros2.fake_rclpy.node import Node, Publisher
from tests.ros2.fake_rclpy.qos import profile


class TransitionCallbackReturn(Enum):
    SUCCESS = 0
    FAILURE = 1
    ERROR = 2


class LifecycleState(NamedTuple):
    label: str
    state_id: int


class LifecyclePublisher(Publisher):
    """Publishes nothing unless its node is active."""

    enabled = False

    def publish(self, message):
        if self.enabled:
            super().publish(message)


# By name: the state it is in before, after success, after failure, and the callback.
_TRANSITIONS = {
    "configure": ("unconfigured", "inactive", "unconfigured", "on_configure"),
    "activate": ("inactive", "active", "inactive", "on_activate"),
    "deactivate": ("active", "inactive", "active", "on_deactivate"),
    "cleanup": ("inactive", "unconfigured", "inactive", "on_cleanup"),
}


class LifecycleNode(Node):
    """Transitions run on the executor, in the node's default callback group, as in rclpy."""

    def __init__(self, node_name, *, enable_communication_interface=True, **kwargs):
        super().__init__(node_name, **kwargs)
        self.state = "unconfigured"
        self._managed_entities = set()

    def create_lifecycle_publisher(self, msg_type, topic, qos_profile, *, callback_group=None):
        publisher = LifecyclePublisher(msg_type, self.full_name(topic), profile(qos_profile))
        self._managed_entities.add(publisher)
        return self._add(self._publishers, publisher)

    def destroy_lifecycle_publisher(self, publisher):
        self._managed_entities.discard(publisher)
        self.destroy_publisher(publisher)

    def change_state(self, name):
        """What a call of the service does: the future of the callback's return."""
        return self.executor.schedule(self.default_callback_group, self._change, name)

    def _change(self, name):
        before, success, failure, callback = _TRANSITIONS.get(
            name, (self.state, "finalized", "finalized", "on_shutdown")
        )
        assert self.state == before, f"cannot {name} while {self.state}"
        result = self._call(callback)
        if result is TransitionCallbackReturn.ERROR:
            recovered = self._call("on_error") is TransitionCallbackReturn.SUCCESS
            self.state = "unconfigured" if recovered else "finalized"
        else:
            self.state = success if result is TransitionCallbackReturn.SUCCESS else failure
        return result

    def _call(self, callback):
        try:
            return getattr(self, callback)(LifecycleState(self.state, 0))
        except Exception:  # rclpy says nothing about it
            return TransitionCallbackReturn.ERROR

    def on_configure(self, state):
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state):
        for publisher in self._managed_entities:
            publisher.enabled = True
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state):
        for publisher in self._managed_entities:
            publisher.enabled = False
        return TransitionCallbackReturn.SUCCESS

    on_cleanup = on_shutdown = on_error = on_configure
