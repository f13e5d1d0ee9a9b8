"""Message classes with the fields, defaults and checks of rosidl's generated Python, on rosbags."""

from __future__ import annotations

import array
from pathlib import Path
from types import ModuleType

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

ROS2 = Path(__file__).parents[3] / "ros2"

# Fields of vision_msgs 4 (Humble to Rolling); rosbags brings the packages of the ROS core only.
VISION = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id"
    ),
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}
TRIGGER = "bool success\nstring message"
_RANGES = {f"int{n}": (-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 16, 32, 64)}
_RANGES |= {f"uint{n}": (0, 2**n - 1) for n in (8, 16, 32, 64)}
_ZERO = {"string": "", "bool": False, "float32": 0.0, "float64": 0.0, "byte": b"\0"}


def action_parts():
    """Goal, result and feedback of Ask.action, as text."""
    text = (ROS2 / "awares_msgs/action/Ask.action").read_text(encoding="utf-8")
    return dict(zip(("Goal", "Result", "Feedback"), text.split("\n---\n"), strict=True))


def _store():
    store = get_typestore(Stores.ROS2_JAZZY)
    texts = {f"vision_msgs/msg/{name}": text for name, text in VISION.items()}
    answer = (ROS2 / "awares_msgs/msg/Answer.msg").read_text(encoding="utf-8")
    texts |= {"awares_msgs/msg/Answer": answer, "std_srvs/msg/Trigger_Response": TRIGGER}
    texts |= {f"awares_msgs/action/Ask_{part}": text for part, text in action_parts().items()}
    for name, text in texts.items():
        store.register(get_types_from_msg(text, name))
    return store


STORE = _store()
_CLASSES: dict[str, type] = {}


class Message:
    """Base of the message classes. Fields are checked when they are set, as rosidl does."""

    def __init__(self, **fields):
        _, declared = STORE.fielddefs[self.TYPE]
        unknown = fields.keys() - {name for name, _ in declared}
        assert not unknown, f"{self.TYPE} has no fields {unknown}"
        for name, kind in declared:
            setattr(self, name, fields[name] if name in fields else _default(kind))

    def __setattr__(self, name, value):
        declared = dict(STORE.fielddefs[self.TYPE][1])
        assert name in declared, f"{self.TYPE} has no field {name}"
        object.__setattr__(self, name, _checked(declared[name], value, f"{self.TYPE}.{name}"))

    def __eq__(self, other):
        return type(self) is type(other) and self.serialized() == other.serialized()

    __hash__ = None

    def serialized(self):
        """CDR bytes."""
        return bytes(STORE.serialize_cdr(_to_store(self), self.TYPE))


def message_class(name):
    """The class of a type, such as "std_msgs/msg/Header"."""
    if name not in _CLASSES:
        constants, _ = STORE.fielddefs[name]
        values = {c: _constant(kind, value) for c, kind, value in constants}
        _CLASSES[name] = type(name.split("/")[-1], (Message,), {"TYPE": name, **values})
    return _CLASSES[name]


def transmitted(message):
    """What arrives where a message is sent to: serialized and read back."""
    return _from_store(STORE.deserialize_cdr(message.serialized(), message.TYPE), message.TYPE)


def packages():
    """Modules such as sensor_msgs.msg, by name."""
    made = {}
    for name in STORE.fielddefs:
        package, *kind, leaf = name.split("/")
        if kind == ["msg"]:
            _module(made, package, "msg").__dict__[leaf] = message_class(name)
    parts = {part: message_class(f"awares_msgs/action/Ask_{part}") for part in action_parts()}
    _module(made, "awares_msgs", "action").Ask = type("Ask", (), parts)
    response = message_class("std_srvs/msg/Trigger_Response")
    trigger = type("Trigger", (), {"Request": type("Request", (), {}), "Response": response})
    _module(made, "std_srvs", "srv").Trigger = trigger
    return made


def _module(made, package, kind):
    for name in (package, f"{package}.{kind}"):
        made.setdefault(name, ModuleType(name))
    setattr(made[package], kind, made[f"{package}.{kind}"])
    return made[f"{package}.{kind}"]


def _constant(kind, value):
    return bytes([value]) if kind == "byte" else value


def _is_array(inner):
    return inner[0] == Nodetype.BASE and inner[1][0] not in ("string", "bool", "byte")


def _default(kind):
    node, about = kind
    if node == Nodetype.BASE:
        return _ZERO.get(about[0], 0)
    if node == Nodetype.NAME:
        return message_class(about)()
    inner, count = about
    if node == Nodetype.ARRAY:
        return [_default(inner) for _ in range(count)]
    return []


def _checked(kind, value, where):
    node, about = kind
    if node == Nodetype.BASE:
        return _checked_base(about[0], value, where)
    if node == Nodetype.NAME:
        assert isinstance(value, message_class(about)), f"{where} must be a {about}"
        return value
    inner, count = about
    assert not isinstance(value, str), f"{where} must be a sequence"
    length = len(value)
    assert length == count if node == Nodetype.ARRAY else not count or length <= count, where
    if inner == (Nodetype.BASE, ("uint8", 0)):
        return array.array("B", bytes(value))
    return [_checked(inner, one, where) for one in value]


def _checked_base(base, value, where):
    if base in _RANGES:
        low, high = _RANGES[base]
        assert isinstance(value, int), f"{where} must be an int, not {value!r}"
        assert low <= value <= high, f"{where} must be between {low} and {high}"
    elif base.startswith("float"):
        assert isinstance(value, float), f"{where} must be a float, not {value!r}"
    else:
        expected = {"string": str, "bool": bool, "byte": bytes}[base]
        assert isinstance(value, expected), f"{where} must be a {expected}, not {value!r}"
        assert base != "byte" or len(value) == 1, where
    return value


def _to_store(message):
    _, declared = STORE.fielddefs[message.TYPE]
    fields = [_value_to_store(kind, getattr(message, name)) for name, kind in declared]
    return STORE.types[message.TYPE](*fields)


def _value_to_store(kind, value):
    node, about = kind
    if node == Nodetype.BASE:
        return value[0] if about[0] == "byte" else value
    if node == Nodetype.NAME:
        return _to_store(value)
    inner = about[0]
    if _is_array(inner):
        return np.array(value, dtype=inner[1][0])
    return [_value_to_store(inner, one) for one in value]


def _from_store(stored, name):
    _, declared = STORE.fielddefs[name]
    values = {field: _value_from_store(kind, getattr(stored, field)) for field, kind in declared}
    return message_class(name)(**values)


def _value_from_store(kind, value):
    node, about = kind
    if node == Nodetype.BASE:
        return bytes([value]) if about[0] == "byte" else value
    if node == Nodetype.NAME:
        return _from_store(value, about)
    inner = about[0]
    return value.tolist() if _is_array(inner) else [_value_from_store(inner, one) for one in value]
