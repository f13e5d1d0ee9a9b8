"""Makes the ROS 2 packages importable, on the stand-in for rclpy."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "ros2" / "awares_ros"))

pytest.importorskip("rosbags", reason="pip install 'awares-edge[ros]'")

from tests.ros2 import fake_rclpy

fake_rclpy.install()
