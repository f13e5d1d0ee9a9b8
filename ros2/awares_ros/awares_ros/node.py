"""The lifecycle node: wires pictures, questions and answers together.

configure   parameters, model, topics, services, action
activate    the worker thread; questions are taken from now on
deactivate  questions are cancelled, the worker thread ends
cleanup     everything is taken down, the model is closed
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from time import monotonic
from typing import Any

from awares_msgs.msg import Answer
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray

from awares_edge import Askable, AwaresError, live
from awares_edge.errors import SessionError
from awares_ros.goals import Goals
from awares_ros.health import Health
from awares_ros.images import compressed_bytes, to_rgb
from awares_ros.messages import answer_message, detections, one_line, refusal_message
from awares_ros.newest import NewestPicture
from awares_ros.settings import Settings, load_model

# The sensor-data profile of depth 1: only the newest picture, and none is sent again.
NEWEST_ONLY = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
DIAGNOSTICS_PERIOD_S = 1.0


class AwaresNode(LifecycleNode):  # type: ignore[misc]  # rclpy has no types here
    """Answers questions about the pictures of a topic, and about pictures in goals.

    Args:
        name: of the node.
        load: makes the model when the node is configured; closed at cleanup.
        arguments: for `rclpy.lifecycle.LifecycleNode`.
    """

    def __init__(
        self,
        name: str = "awares",
        *,
        load: Callable[[Settings], Askable] = load_model,
        **arguments: Any,
    ) -> None:
        super().__init__(name, **arguments)
        self._load = load
        self._down = ExitStack()  # what configure put up, taken down in reverse
        self._asker: live.LiveAsker | None = None
        self._standing: live.Ticket | None = None
        for setting in fields(Settings):
            self.declare_parameter(setting.name, setting.default, _descriptor(setting))

    def on_configure(self, state: Any) -> Any:
        """Read the parameters, load the model, and put up the interfaces."""
        try:
            self._put_up()
        except Exception as error:  # rclpy would not say what it was
            self.get_logger().error(f"cannot be configured: {one_line(error)}")
            self._take_down()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: Any) -> Any:
        """Begin to take questions."""
        result = super().on_activate(state)
        self._asker = live.LiveAsker(
            self._model,
            max_age_ms=self._settings.max_age_ms or None,
            deadline_ms=self._settings.deadline_ms or None,
            policy="queue",
            most_waiting=self._settings.most_waiting,
        )
        for subscriber in (self._health.on_event, self._goals.on_event, self._publish):
            self._asker.subscribe(subscriber)
        return result

    def on_deactivate(self, state: Any) -> Any:
        """Cancel what is being answered and take no more questions."""
        self._stop_asking()
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> Any:
        """Take everything down and close the model."""
        self._take_down()
        return super().on_cleanup(state)

    def on_shutdown(self, state: Any) -> Any:
        """The same, from every state."""
        self._take_down()
        return super().on_shutdown(state)

    def on_error(self, state: Any) -> Any:
        """The same; the node is unconfigured then."""
        self._take_down()
        return super().on_error(state)

    def destroy_node(self) -> Any:
        """Take everything down, then the node."""
        self._take_down()
        return super().destroy_node()

    def submit(self, source: live.FrameSource, question: str, *, follow_up: bool = False) -> Any:
        """Ask; raises an `AwaresError` if the question is not taken."""
        asker = self._asker
        if asker is None:
            raise SessionError("the node is inactive: activate it first")
        return asker.submit(source, question, self._settings.options(follow_up=follow_up))

    def _put_up(self) -> None:
        values = {one.name: self.get_parameter(one.name).value for one in fields(Settings)}
        self._settings = Settings(**values)
        self._model = self._load(self._settings)
        self._down.callback(self._model.close)
        about = self._model.about
        self.get_logger().info(f"model loaded: {about.runtime}, {about.precision}, {about.device}")
        self._health = Health(self._settings.max_age_ms / 1e3)
        self._pictures = NewestPicture(self._convert)
        self._put_up_topics()
        self._put_up_services()

    def _put_up_topics(self) -> None:
        settings = self._settings
        topic, kind = "input_image", Image
        if settings.compressed:
            topic, kind = "input_image/compressed", CompressedImage
        own = MutuallyExclusiveCallbackGroup()
        images = self.create_subscription(
            kind, topic, self._on_picture, NEWEST_ONLY, callback_group=own
        )
        queries = self.create_subscription(String, "input_query", self._on_query, 10)
        for subscription in (images, queries):
            self._down.callback(self.destroy_subscription, subscription)
        self._output = self._publisher(String, "output")
        self._answers = self._publisher(Answer, "~/answer")
        self._crops = self._publisher(Detection2DArray, "~/crops")
        # Not managed by the lifecycle: an inactive node says so.
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._down.callback(self.destroy_publisher, self._diagnostics)
        self._timer(DIAGNOSTICS_PERIOD_S, self._diagnose)
        if settings.question:
            self._timer(settings.interval, self._ask_standing)

    def _put_up_services(self) -> None:
        self._goals = Goals(self, self._submit_goal, lambda: self._asker is not None)
        self._down.callback(self._goals.destroy)
        group = ReentrantCallbackGroup()
        for name, callback in (("~/capture", self._on_capture), ("~/reset", self._on_reset)):
            service = self.create_service(Trigger, name, callback, callback_group=group)
            self._down.callback(self.destroy_service, service)

    def _publisher(self, kind: Any, topic: str) -> Any:
        publisher = self.create_lifecycle_publisher(kind, topic, 10)
        self._down.callback(self.destroy_lifecycle_publisher, publisher)
        return publisher

    def _timer(self, seconds: float, callback: Callable[[], None]) -> None:
        self._down.callback(self.destroy_timer, self.create_timer(seconds, callback))

    def _stop_asking(self) -> None:
        asker, self._asker = self._asker, None
        if asker is not None:
            asker.close()

    def _take_down(self) -> None:
        self._stop_asking()
        self._down.close()

    def _on_picture(self, message: Any) -> None:
        self._pictures.put(message, self._taken(message.header))

    def _taken(self, header: Any) -> float:
        """When a picture was taken, in seconds of `time.monotonic()`."""
        stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
        if self._settings.picture_time == "arrival" or stamp == 0:
            return monotonic()
        age: float = (self.get_clock().now().nanoseconds - stamp) / 1e9
        return monotonic() - max(age, 0.0)

    def _convert(self, message: Any) -> Any:
        if self._settings.compressed and hasattr(message, "format"):
            return compressed_bytes(message)
        return to_rgb(message, self._settings.max_pixels)

    def _submit_goal(self, goal: Any) -> Any:
        if not goal.image:
            return self.submit(self._pictures, goal.question, follow_up=goal.follow_up)
        message = goal.image[0]
        return self.submit(
            lambda: live.Frame(self._convert(message), math.inf, message.header), goal.question
        )

    def _on_query(self, message: Any) -> None:
        try:
            self.submit(self._pictures, message.data)
        except AwaresError as error:
            self.get_logger().warning(one_line(error))
            self._answers.publish(refusal_message(message.data, error))

    def _ask_standing(self) -> None:
        """Ask the standing question again, unless it is still being answered."""
        if self._asker is None or not (self._standing is None or self._standing.done()):
            return
        try:
            self._standing = self.submit(self._pictures, self._settings.question)
        except AwaresError as error:
            self.get_logger().warning(one_line(error))

    def _on_capture(self, _request: Any, response: Any) -> Any:
        try:
            frame = self._pictures.capture()
        except AwaresError as error:
            response.success, response.message = False, one_line(error)
            return response
        response.success = frame is not None
        response.message = "captured" if frame else "no picture has come yet"
        return response

    def _on_reset(self, _request: Any, response: Any) -> Any:
        self._pictures.release()
        response.success, response.message = True, "questions are about the newest picture"
        return response

    def _publish(self, event: live.LiveEvent) -> None:
        """Publish how a question ended; called with every event of the asker."""
        if not isinstance(event, live.Answered | live.Failed):
            return
        self._answers.publish(answer_message(event))
        if isinstance(event, live.Answered):
            self._crops.publish(detections(event))
            self._output.publish(String(data=event.answer.text))

    def _diagnose(self) -> None:
        self._diagnostics.publish(
            self._health.message(
                self.get_name(),
                self.get_clock().now().to_msg(),
                model=self._model,
                asker=self._asker,
                pictures=self._pictures,
            )
        )


def _descriptor(setting: Any) -> Any:
    """A parameter's descriptor, from the metadata of its field."""
    descriptor = ParameterDescriptor(description=setting.metadata["description"])
    if "choices" in setting.metadata:
        descriptor.additional_constraints = "one of " + ", ".join(setting.metadata["choices"])
    if "range" in setting.metadata:
        low, high = setting.metadata["range"]
        if isinstance(setting.default, int):
            limits = IntegerRange(from_value=low, to_value=high, step=1)
            descriptor.integer_range = [limits]
        else:
            limits = FloatingPointRange(from_value=low, to_value=high, step=0.0)
            descriptor.floating_point_range = [limits]
    return descriptor
