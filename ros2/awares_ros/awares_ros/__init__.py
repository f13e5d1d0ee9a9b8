"""Questions about camera pictures as a ROS 2 node.

`images`, `newest` and `settings` know nothing of ROS; the other modules import rclpy and messages.
"""
