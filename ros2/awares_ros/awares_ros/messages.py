"""Tickets and answers as messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from awares_msgs.msg import Answer as AnswerMessage
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from awares_edge import Answer, ZoomedCrop, live

_STATUS = {
    live.Answered: AnswerMessage.ANSWERED,
    live.Superseded: AnswerMessage.SUPERSEDED,
    live.Cancelled: AnswerMessage.CANCELLED,
    live.TooOld: AnswerMessage.TOO_OLD,
    live.Failed: AnswerMessage.FAILED,
}


def header_of(ticket: live.Ticket) -> Any:
    """Header of the picture; an empty one if the question ended before it had a picture."""
    return Header() if ticket.frame is None else ticket.frame.stamp


def answer_message(ending: live.Ending) -> Any:
    """How a question ended, as an awares_msgs/Answer."""
    message = AnswerMessage()
    message.header = header_of(ending.ticket)
    message.question = ending.ticket.question
    message.status = _STATUS[type(ending)]
    if isinstance(ending, live.Answered):
        _fill(message, ending.answer)
    else:
        message.error = one_line(ending.error)
    return message


def refusal_message(question: str, error: BaseException) -> Any:
    """A question that was not taken, as an awares_msgs/Answer."""
    message = AnswerMessage()
    message.question = question
    message.status = AnswerMessage.FAILED
    message.error = one_line(error)
    return message


def detections(ending: live.Answered) -> Any:
    """The regions that an answer looked at, as a vision_msgs/Detection2DArray."""
    header = header_of(ending.ticket)
    message = Detection2DArray()
    message.header = header
    message.detections = [_detection(crop, header) for crop in ending.answer.crops]
    return message


def one_line(error: BaseException) -> str:
    """An error as text; its type where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def names(crops: Sequence[ZoomedCrop]) -> list[str]:
    """Names of regions, in order."""
    return [crop.name for crop in crops]


def _fill(message: Any, answer: Answer) -> None:
    message.text = answer.text
    message.confidence = answer.confidence
    message.reasoning = answer.reasoning
    message.crop_names = names(answer.crops)
    message.crop_boxes = [_region(crop) for crop in answer.crops]
    message.visual_tokens = answer.visual_tokens.low + answer.visual_tokens.crops
    message.full_visual_tokens = answer.visual_tokens.full
    message.ms = answer.total_ms


def _region(crop: ZoomedCrop) -> Any:
    left, top, right, bottom = crop.box
    region = RegionOfInterest()
    region.x_offset, region.y_offset = left, top
    region.width, region.height = right - left, bottom - top
    return region


def _detection(crop: ZoomedCrop, header: Any) -> Any:
    left, top, right, bottom = crop.box
    detection = Detection2D()
    detection.header = header
    detection.id = crop.id
    detection.bbox.center.position.x = (left + right) / 2
    detection.bbox.center.position.y = (top + bottom) / 2
    detection.bbox.size_x = float(right - left)
    detection.bbox.size_y = float(bottom - top)
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = crop.name
    hypothesis.hypothesis.score = 1.0
    detection.results = [hypothesis]
    return detection
