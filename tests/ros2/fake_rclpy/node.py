"""rclpy.node.Node: names, parameters, publishers, subscriptions, services, timers."""

import threading
import time
from collections import deque

from tests.ros2.fake_rclpy.executors import MutuallyExclusiveCallbackGroup
from tests.ros2.fake_rclpy.graph import GRAPH
from tests.ros2.fake_rclpy.messages import message_class
from tests.ros2.fake_rclpy.qos import profile


class Parameter:
    def __init__(self, name, value):
        self.name, self.value = name, value


class Logger:
    """Keeps what is logged, as (level, text)."""

    def __init__(self):
        self.lines = []

    def info(self, text):
        self.lines.append(("info", text))

    def warning(self, text):
        self.lines.append(("warning", text))

    def error(self, text):
        self.lines.append(("error", text))


class Time:
    def __init__(self, nanoseconds):
        self.nanoseconds = nanoseconds

    def to_msg(self):
        sec, nanosec = divmod(self.nanoseconds, 10**9)
        return message_class("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)


class Clock:
    def now(self):
        return Time(time.time_ns())


class Publisher:
    def __init__(self, kind, topic, qos):
        self.kind, self.topic, self.qos = kind, topic, qos

    def publish(self, message):
        assert isinstance(message, self.kind), f"{message} is no {self.kind}"
        GRAPH.send(self.topic, message, self.qos)


class Subscription:
    """Holds as many messages as its depth; the oldest one is dropped."""

    def __init__(self, node, kind, topic, callback, qos, group):
        self.node, self.kind, self.topic, self.qos = node, kind, topic, qos
        self._callback, self._group = callback, group
        self._lock = threading.Lock()
        self._waiting = deque(maxlen=qos.depth)

    def deliver(self, message):
        with self._lock:
            self._waiting.append(message)
        self.node.executor.schedule(self._group, self._take)

    def _take(self):
        with self._lock:
            message = self._waiting.popleft() if self._waiting else None
        if message is not None:
            self._callback(message)


class Service:
    def __init__(self, node, kind, name, callback, group):
        self.node, self.kind, self.name = node, kind, name
        self._callback, self._group = callback, group

    def serve(self, request):
        request = request or self.kind.Request()
        return self.node.executor.schedule(
            self._group, self._callback, request, self.kind.Response()
        )


class Timer:
    def __init__(self, node, period, callback, group):
        self.node, self.period, self._callback, self._group = node, period, callback, group

    def fire(self):
        """Run its callback on the executor; the future of it."""
        return self.node.executor.schedule(self._group, self._callback)


class Node:
    def __init__(self, node_name, *, namespace=None, parameter_overrides=None):
        self._name, self._namespace = node_name, f"/{namespace.strip('/')}" if namespace else ""
        self._overrides = {one.name: one.value for one in parameter_overrides or []}
        self._parameters, self._descriptors = {}, {}
        self._default_callback_group = MutuallyExclusiveCallbackGroup()
        self._logger, self._clock = Logger(), Clock()
        self._publishers, self._subscriptions, self._services, self._timers = [], [], [], []
        self.executor = None

    @property
    def default_callback_group(self):
        return self._default_callback_group

    @property
    def timers(self):
        yield from self._timers

    @property
    def subscriptions(self):
        yield from self._subscriptions

    def get_name(self):
        return self._name

    def get_logger(self):
        return self._logger

    def get_clock(self):
        return self._clock

    def full_name(self, name):
        """A name as the graph knows it: absolute, private to the node (~) or relative."""
        if name.startswith("/"):
            return name
        if name.startswith("~/"):
            return f"{self._namespace}/{self._name}{name[1:]}"
        return f"{self._namespace}/{name}"

    def declare_parameter(self, name, value=None, descriptor=None, ignore_override=False):
        assert name not in self._parameters, "declared twice"
        given = value if ignore_override else self._overrides.get(name, value)
        # Parameters have the type of their default, unless the descriptor says otherwise.
        assert type(given) is type(value), f"{name} must be a {type(value).__name__}"
        for limits in (*descriptor.integer_range, *descriptor.floating_point_range):
            assert limits.from_value <= given <= limits.to_value, f"{name} is out of range"
        self._parameters[name], self._descriptors[name] = Parameter(name, given), descriptor
        return self._parameters[name]

    def get_parameter(self, name):
        return self._parameters[name]

    def describe_parameter(self, name):
        return self._descriptors[name]

    def set_parameter(self, name, value):
        """As `ros2 param set` would, without its checks."""
        self._parameters[name] = Parameter(name, value)

    def create_publisher(self, msg_type, topic, qos_profile, *, callback_group=None):
        return self._add(
            self._publishers, Publisher(msg_type, self.full_name(topic), profile(qos_profile))
        )

    def create_subscription(self, msg_type, topic, callback, qos_profile, *, callback_group=None):
        subscription = Subscription(
            self,
            msg_type,
            self.full_name(topic),
            callback,
            profile(qos_profile),
            callback_group or self._default_callback_group,
        )
        GRAPH.subscriptions.append(subscription)
        return self._add(self._subscriptions, subscription)

    def create_service(self, srv_type, srv_name, callback, *, callback_group=None):
        group = callback_group or self._default_callback_group
        service = Service(self, srv_type, self.full_name(srv_name), callback, group)
        assert service.name not in GRAPH.services
        GRAPH.services[service.name] = service
        return self._add(self._services, service)

    def create_timer(self, timer_period_sec, callback, callback_group=None):
        group = callback_group or self._default_callback_group
        return self._add(self._timers, Timer(self, timer_period_sec, callback, group))

    def _add(self, entities, entity):
        entities.append(entity)
        return entity

    def destroy_publisher(self, publisher):
        self._publishers.remove(publisher)

    def destroy_subscription(self, subscription):
        self._subscriptions.remove(subscription)
        GRAPH.subscriptions.remove(subscription)

    def destroy_service(self, service):
        self._services.remove(service)
        del GRAPH.services[service.name]

    def destroy_timer(self, timer):
        self._timers.remove(timer)

    def destroy_node(self):
        for subscription in list(self._subscriptions):
            self.destroy_subscription(subscription)
        for service in list(self._services):
            self.destroy_service(service)
