"""The synthetic suite on printed sheets before a simulated camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from awares_edge.camera.sheet import markers
from awares_edge.camera.sheet.pages import layout
from awares_edge.camera.sheet.rectify import NoPage, check_reader, page_in, project
from awares_edge.evaluation.views import Refused
from awares_edge.synth.capture import Capture, Level, capture
from awares_edge.synth.sample import SIDE, Question

_DOTS_PER_MM = 4  # of the simulated paper: finer than a frame shows it
_STREAM = 17  # of random numbers; other users of the same seed have others


@dataclass(frozen=True)
class CapturedSheets:
    """Pictures as a camera sees them on the sheet; see `awares_edge.evaluation.views.View`.

    Attributes:
        level: of what goes wrong on the way: "mild", "medium" or "strong".
        seed: of the camera.
        rectify: read the sheet (needs OpenCV). Without it the model is shown the middle square of
            the frame, scaled to the size of the picture, and the evidence where it lies there.
    """

    level: Level
    seed: int = 0
    rectify: bool = True

    def __post_init__(self) -> None:
        if self.rectify:
            check_reader()

    def show(
        self, index: int, picture: Image.Image, questions: list[Question]
    ) -> tuple[Image.Image, list[Question]] | Refused:
        """The rectified picture, or why there is none."""
        taken = self.taken(index, picture)
        if not self.rectify:
            square, to_square = _middle(taken.frame)
            return square, [_moved(question, to_square @ taken.matrix) for question in questions]
        page = page_in(taken.frame)
        if isinstance(page, NoPage):
            return Refused(page.reason)
        return Image.fromarray(page.picture), questions

    def taken(self, index: int, picture: Image.Image) -> Capture:
        """The frame, with the homography from pixels of the picture to those of the frame."""
        sheet, (left, top) = layout(picture, dots_per_mm=_DOTS_PER_MM)
        x0, y0, x1, y1 = markers.HULL_MM
        hull = tuple(mm * _DOTS_PER_MM for mm in (left + x0, top + y0, left + x1, top + y1))
        rng = np.random.default_rng([self.seed, index, _STREAM])
        taken = capture(sheet, (hull[0], hull[1], hull[2], hull[3]), self.level, rng)
        pixel = markers.PICTURE_MM / SIDE * _DOTS_PER_MM
        to_sheet = np.array(
            [[pixel, 0, left * _DOTS_PER_MM], [0, pixel, top * _DOTS_PER_MM], [0, 0, 1]]
        )
        return Capture(taken.frame, taken.matrix @ to_sheet)

    def pins(self) -> dict[str, Any]:
        return {"capture": self.level, "camera_seed": self.seed, "rectify": self.rectify}


def _middle(frame: NDArray[np.uint8]) -> tuple[Image.Image, NDArray[np.float64]]:
    """The middle square at the size of a picture, and the way there from pixels of the frame."""
    height, width, _ = frame.shape
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = Image.fromarray(frame[top : top + side, left : left + side])
    scale = SIDE / side
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale], [0, 0, 1]])
    return square.resize((SIDE, SIDE), Image.Resampling.LANCZOS), matrix


def _moved(question: Question, matrix: NDArray[np.float64]) -> Question:
    """The question with its evidence where a homography moves it."""

    def box(corners: Sequence[int]) -> tuple[int, int, int, int]:
        x0, y0, x1, y1 = corners
        points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)
        moved = project(matrix, points)
        low, high = np.floor(moved.min(axis=0)), np.ceil(moved.max(axis=0))
        left, top, right, bottom = np.clip([*low, *high], 0, SIDE).astype(int).tolist()
        return left, top, right, bottom

    return replace(question, evidence=tuple(map(box, question.evidence)))
