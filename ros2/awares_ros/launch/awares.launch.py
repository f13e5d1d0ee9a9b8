"""Starts the node, and configures and activates it unless `autostart:=false`."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, RegisterEventHandler
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition


def generate_launch_description():
    """The launch description; `ros2 launch awares_ros awares.launch.py --show-args` lists it."""
    config = PathJoinSubstitution([FindPackageShare("awares_ros"), "config", "awares.yaml"])
    arguments = [
        DeclareLaunchArgument("params", default_value=config, description="Parameter file."),
        DeclareLaunchArgument("name", default_value="awares", description="Name of the node."),
        DeclareLaunchArgument("namespace", default_value="", description="Its namespace."),
        DeclareLaunchArgument(
            "image", default_value="input_image", description="Topic of the pictures."
        ),
        DeclareLaunchArgument(
            "autostart", default_value="true", description="Configure and activate it."
        ),
    ]
    image = LaunchConfiguration("image")
    node = LifecycleNode(
        package="awares_ros",
        executable="awares_node",
        name=LaunchConfiguration("name"),
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params")],
        remappings=[
            ("input_image", image),
            ("input_image/compressed", PathJoinSubstitution([image, "compressed"])),
        ],
        output="screen",
    )
    autostart = IfCondition(LaunchConfiguration("autostart"))
    activate = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="inactive",
        entities=[_change(node, Transition.TRANSITION_ACTIVATE)],
    )
    return LaunchDescription(
        [
            *arguments,
            node,
            RegisterEventHandler(activate, condition=autostart),
            _change(node, Transition.TRANSITION_CONFIGURE, condition=autostart),
        ]
    )


def _change(node, transition, **arguments):
    event = ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition)
    return EmitEvent(event=event, **arguments)
