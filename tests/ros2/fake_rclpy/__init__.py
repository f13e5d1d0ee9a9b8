"""A stand-in for rclpy and the message packages, so that the node runs where ROS is not installed.

Real are the message layouts and their serialization (CDR, by `rosbags`: every message and goal is
serialized and read back), the node under test, and threads. Imitated, from rclpy's sources, are
signatures, the states of lifecycle nodes and of goals and what may follow what, callback groups,
quality of service, and the type checks of message fields and parameters. There is no network and no
discovery, and a timer fires when a test says so.
"""

from __future__ import annotations

import sys
from types import ModuleType

from tests.ros2.fake_rclpy import actions, executors, lifecycle, messages, node, qos
from tests.ros2.fake_rclpy.graph import GRAPH

RCLPY = {
    "rclpy": {
        "init": lambda args=None: None,
        "try_shutdown": lambda: None,
    },
    "rclpy.action": {
        "ActionServer": actions.ActionServer,
        "CancelResponse": actions.CancelResponse,
        "GoalResponse": actions.GoalResponse,
    },
    "rclpy.callback_groups": {
        "MutuallyExclusiveCallbackGroup": executors.MutuallyExclusiveCallbackGroup,
        "ReentrantCallbackGroup": executors.ReentrantCallbackGroup,
    },
    "rclpy.executors": {
        "ExternalShutdownException": executors.ExternalShutdownException,
        "MultiThreadedExecutor": executors.MultiThreadedExecutor,
    },
    "rclpy.lifecycle": {
        "LifecycleNode": lifecycle.LifecycleNode,
        "TransitionCallbackReturn": lifecycle.TransitionCallbackReturn,
    },
    "rclpy.node": {"Node": node.Node},
    "rclpy.qos": {
        "HistoryPolicy": qos.HistoryPolicy,
        "QoSProfile": qos.QoSProfile,
        "ReliabilityPolicy": qos.ReliabilityPolicy,
    },
}


def modules() -> dict[str, ModuleType]:
    """rclpy and the message packages, by name."""
    made = {}
    for name, contents in RCLPY.items():
        made[name] = ModuleType(name)
        made[name].__dict__.update(contents)
        if "." in name:
            setattr(made["rclpy"], name.split(".")[1], made[name])
    return made | messages.packages()


def install() -> None:
    """Make them importable, for this process; hides a real rclpy."""
    sys.modules.update(modules())


__all__ = ["GRAPH", "install", "modules"]
