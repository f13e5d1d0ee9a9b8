"""Who publishes, subscribes and serves under which name, and a test's own ends of it."""

import queue
import uuid

from tests.ros2.fake_rclpy.messages import transmitted
from tests.ros2.fake_rclpy.qos import matches, profile

TIMEOUT = 60  # seconds; only a test that fails waits so long


class Graph:
    """Topics, services and actions by their full names."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.subscriptions, self.services, self.actions = [], {}, {}

    def send(self, topic, message, qos):
        """Deliver to every subscription that matches."""
        for subscription in list(self.subscriptions):
            if subscription.topic == topic and matches(qos, subscription.qos):
                assert isinstance(message, subscription.kind)
                subscription.deliver(transmitted(message))

    def publish(self, topic, message, qos=10):
        """Publish as another node would."""
        self.send(topic, message, profile(qos))

    def listen(self, topic, kind):
        """Subscribe as another node would; a queue of what arrives."""
        listener = Listener(topic, kind)
        self.subscriptions.append(listener)
        return listener

    def call(self, name, request=None):
        """Call a service; its response."""
        service = self.services[name]
        response = service.serve(request).result(TIMEOUT)
        return transmitted(response)

    def send_goal(self, name, goal):
        """Send a goal; the client's side of it."""
        return ClientGoal(self.actions[name], transmitted(goal))


class Listener:
    """A subscription of a test."""

    def __init__(self, topic, kind):
        self.topic, self.kind, self.qos = topic, kind, profile(10)
        self._messages = queue.Queue()

    def deliver(self, message):
        self._messages.put(message)

    def next(self):
        """Wait for a message."""
        return self._messages.get(timeout=TIMEOUT)

    def empty(self):
        return self._messages.empty()


class ClientGoal:
    """A goal as its client sees it.

    Attributes:
        accepted: whether the server took it.
        feedback: what it has published so far.
    """

    def __init__(self, server, goal):
        self.feedback = []
        self._server = server
        self._handle = server.request(uuid.uuid4().bytes, goal, self).result(TIMEOUT)
        self.accepted = self._handle is not None

    def cancel(self):
        """Ask for it to be cancelled; whether the server agrees."""
        return self._server.request_cancel(self._handle).result(TIMEOUT)

    def result(self):
        """Wait for it: the state's name, and the result."""
        state, result = self._handle.done.result(TIMEOUT)
        return state, transmitted(result)

    @property
    def state(self):
        return self._handle.state


GRAPH = Graph()
