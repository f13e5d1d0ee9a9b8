"""Oracles: where in the picture the evidence for an answer is."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from PIL import Image

from awares_edge.training.crop_rules import BoxF
from awares_edge.training.endpoint import Endpoint
from awares_edge.training.errors import ReplyError

_NUMBER = r"\s*(-?\d+(?:\.\d*)?)\s*"
_NUMBERS = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
_MAX_REPLY = 1 << 16


class Oracle(ABC):
    """Finds evidence boxes in pixels."""

    name: str

    @abstractmethod
    def boxes(
        self, image: Image.Image, question: str, answer: str, known: Sequence[BoxF]
    ) -> list[BoxF]:
        """Boxes (left, top, right, bottom); ``known`` are the row's own boxes."""


class KnownBoxes(Oracle):
    """Trusts the boxes of the data set (the synthetic suite's are exact)."""

    name = "known"

    def boxes(
        self, image: Image.Image, question: str, answer: str, known: Sequence[BoxF]
    ) -> list[BoxF]:
        del image, question, answer
        return list(known)


class EndpointOracle(Oracle):
    """A grounding model behind an OpenAI-compatible endpoint, boxes on a 0-1000 scale.

    The paper's is Qwen3-VL-235B-A22B.
    """

    name = "endpoint"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def boxes(
        self, image: Image.Image, question: str, answer: str, known: Sequence[BoxF]
    ) -> list[BoxF]:
        del known
        reply = self.endpoint.chat(
            f"Question: {question}\nAnswer: {answer}\n"
            "Locate every region of the image that is needed to answer the question. Reply with a "
            'JSON list of objects {"bbox_2d": [x1, y1, x2, y2]}, coordinates from 0 to 1000.',
            image,
        )
        found = parse_boxes(reply, image.size)
        if not found:
            raise ReplyError(f"the oracle returned no box: {reply[:60]!r}")
        return found


def parse_boxes(reply: str, size: tuple[int, int]) -> list[BoxF]:
    """Boxes on the 0-1000 scale in a reply, in pixels; empty or inverted ones are dropped."""
    raw: list[Sequence[float]] = []
    reply = reply[:_MAX_REPLY]
    try:
        for item in json.loads(reply[reply.find("[") : reply.rfind("]") + 1]):
            box = item.get("bbox_2d", item.get("bbox")) if isinstance(item, dict) else item
            if isinstance(box, list) and len(box) == 4:
                raw.append([float(v) for v in box])
    except (ValueError, TypeError, OverflowError, RecursionError):
        raw = []
    if not raw:
        raw = [[float(v) for v in m] for m in _NUMBERS.findall(reply)]
    out: list[BoxF] = []
    for x1, y1, x2, y2 in raw:  # the comparison below is false for NaN
        left, top, right, bottom = (min(1000.0, max(0.0, v)) / 1000 for v in (x1, y1, x2, y2))
        if right > left and bottom > top:
            w, h = size
            out.append((left * w, top * h, right * w, bottom * h))
    return out
