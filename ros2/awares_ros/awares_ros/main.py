"""Entry point of `ros2 run awares_ros awares_node`."""

from __future__ import annotations

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

from awares_ros.node import AwaresNode

# One waits for the running goal; the others serve pictures, cancel requests and services meanwhile.
THREADS = 4


def main(args: list[str] | None = None) -> None:
    """Spin the node until ROS shuts down or Ctrl-C."""
    rclpy.init(args=args)
    node = AwaresNode()
    executor = MultiThreadedExecutor(num_threads=THREADS)
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()  # ends the running goal, which a thread of the executor waits for
        executor.shutdown()
        rclpy.try_shutdown()
