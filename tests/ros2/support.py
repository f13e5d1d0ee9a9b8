"""A node that runs, and what other nodes would send to it."""

import threading
import time
from contextlib import contextmanager

import numpy as np
from awares_msgs.action import Ask
from awares_msgs.msg import Answer
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

import awares_edge
from awares_ros.node import AwaresNode
from tests.ros2.fake_rclpy import GRAPH
from tests.ros2.fake_rclpy.graph import TIMEOUT
from tests.ros2.fake_rclpy.node import Parameter

PIXELS = np.random.default_rng(3).integers(0, 256, (448, 560, 3), dtype=np.uint8)
CALL = "GET_CROPS: ['3']"
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def picture(pixels=PIXELS, *, age=0.0, frame_id="camera", encoding="rgb8"):
    """A sensor_msgs/Image that was taken `age` seconds ago."""
    message = Image(height=len(pixels), width=len(pixels[0]), encoding=encoding)
    message.step = pixels[0].nbytes
    message.data = pixels.tobytes()
    message.header.frame_id = frame_id
    message.header.stamp = Node("clock").get_clock().now().to_msg()
    message.header.stamp.sec -= int(age)
    return message


@contextmanager
def spinning(*replies, model=None, state="active", **parameters):
    """A node on an executor of four threads, brought to a state.

    Pictures may have any age unless a test says otherwise: the machine may be busy.
    """
    GRAPH.clear()
    model = model or awares_edge.scripted(replies)
    parameters.setdefault("max_age_ms", 0.0)
    overrides = [Parameter(name, value) for name, value in parameters.items()]
    node = AwaresNode(load=lambda _: model, parameter_overrides=overrides)
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        for transition in {"active": ("configure", "activate"), "inactive": ("configure",)}.get(
            state, ()
        ):
            change(node, transition)
        yield node
    finally:
        node.destroy_node()
        executor.shutdown()
        thread.join()


def change(node, transition):
    """Trigger a transition of the lifecycle; what its callback returned."""
    return node.change_state(transition).result(TIMEOUT)


def show(node, message=None):
    """Publish a picture, and wait until the node has it."""
    before = node._pictures.received
    GRAPH.publish("/input_image", message or picture(), BEST_EFFORT)
    until(lambda: node._pictures.received > before)


def until(condition):
    """Wait for what another thread does."""
    for _ in range(TIMEOUT * 1000):
        if condition():
            return
        time.sleep(0.001)
    raise TimeoutError


def goal(question="?", **fields):
    """Send a goal of the action."""
    return GRAPH.send_goal("/awares/ask", Ask.Goal(question=question, **fields))


def listen():
    """What the node publishes: its answers, crops and plain texts."""
    return (
        GRAPH.listen("/awares/answer", Answer),
        GRAPH.listen("/awares/crops", Detection2DArray),
        GRAPH.listen("/output", String),
    )


class HeldModel:
    """A scripted model that opens no picture before it is told to.

    Attributes:
        opening: set when a picture is being opened.
        go: set it to go on.
    """

    def __init__(self, *replies):
        self._model = awares_edge.scripted(replies)
        self.opening, self.go = threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self._model, name)

    def open(self, image):
        self.opening.set()
        assert self.go.wait(TIMEOUT)
        return self._model.open(image)
