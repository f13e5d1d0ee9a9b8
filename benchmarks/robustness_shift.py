"""Layouts and pictures that nano never saw: what it reads, when it calls, and what it knows of it.

Families that training never drew, and the suite's pictures on sheets before a simulated camera
(needs `pip install 'awares-edge[camera]'`; such rows are left out without it). Every question is
asked as the model decides and at full resolution. A decision is right if the model calls where the
text that must be read was drawn small, and answers at once where it was not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge.calibration.confidence import auroc, calibration_error  # noqa: E402
from awares_edge.controller.model import Model  # noqa: E402
from awares_edge.controller.options import AskOptions  # noqa: E402
from awares_edge.evaluation.answers import is_right  # noqa: E402
from awares_edge.evaluation.synthetic import MAX_NEW_TOKENS, questions  # noqa: E402
from awares_edge.extras import missing  # noqa: E402
from awares_edge.synth.sample import Question  # noqa: E402
from benchmarks.markdown import table  # noqa: E402

TITLES = (
    "pictures | answered | full view | accuracy | RTR | recall | precision | decision AUROC | "
    "decision error | answer AUROC | answer error | kept at 0.9 | right of kept"
)


@dataclass(frozen=True)
class Condition:
    """What is shown.

    Attributes:
        families: of the suite; () for the trained ones.
        level: of the simulated camera; "" for none.
        rectify: whether the sheet's markers are used.
    """

    title: str
    families: tuple[str, ...] = ()
    level: str = ""
    rectify: bool = True


CONDITIONS = (
    Condition("trained families"),
    Condition("held back: products", ("products",)),
    Condition("held back: gauges", ("gauges",)),
    Condition("camera mild, rectified", level="mild"),
    Condition("camera medium, rectified", level="medium"),
    Condition("camera strong, rectified", level="strong"),
    Condition("camera medium, as framed", level="medium", rectify=False),
)


@dataclass
class Outcomes:
    """One value for each question that was answered."""

    full: list[bool] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    rtr: list[float] = field(default_factory=list)
    needed: list[bool] = field(default_factory=list)
    called: list[bool] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)


def measure(model: Model, condition: Condition, limit: int) -> list[object]:
    """A row of the table."""
    found = Outcomes()
    for image, question in shown(condition, limit):
        with model.open(image) as picture:
            answer = picture.ask(question.text, AskOptions(max_new_tokens=MAX_NEW_TOKENS))
            full = picture.ask(
                question.text, AskOptions(mode="full", max_new_tokens=MAX_NEW_TOKENS)
            )
        found.full.append(is_right(full.text, question.answer))
        found.right.append(is_right(answer.text, question.answer))
        found.rtr.append(answer.rtr)
        found.needed.append(question.size == "small")
        found.called.append(bool(answer.crops))
        found.margin.append(answer.decision_margin or 0.0)
        found.confidence.append(answer.confidence)
    return [condition.title, f"{len(found.right)} of {limit}", *_numbers(found)]


def _numbers(found: Outcomes) -> list[object]:
    right, needed, called = (
        np.array(values, dtype=bool) for values in (found.right, found.needed, found.called)
    )
    margin, confidence = np.array(found.margin), np.array(found.confidence)
    kept = confidence >= 0.9
    return [
        _mean(np.array(found.full)),
        _mean(right),
        float(np.mean(found.rtr)),
        _mean(called[needed]),
        _mean(needed[called]),
        auroc(margin, needed),
        calibration_error(1 / (1 + np.exp(-margin)), needed),
        auroc(confidence, right),
        calibration_error(confidence, right),
        _mean(kept),
        _mean(right[kept]),
    ]


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def shown(condition: Condition, limit: int) -> Iterator[tuple[Image.Image, Question]]:
    """Pictures as the model is shown them, with their questions; refused sheets are left out."""
    view: Any = None
    if condition.level:
        from awares_edge.camera.sheet.captured import CapturedSheets

        view = CapturedSheets(condition.level, 0, condition.rectify)
    drawn = questions("test", 0, limit, condition.families)
    for index, (_, image, chosen) in enumerate(drawn):
        seen = view.show(index, image, chosen) if view else (image, chosen)
        if isinstance(seen, tuple):
            yield from ((seen[0], question) for question in seen[1])


def run(options: argparse.Namespace) -> None:
    """Print one row for each condition."""
    camera = not missing(["awares_edge.camera", "cv2"])
    chosen = [c for c in CONDITIONS if camera or not c.level]
    with awares_edge.load(options.bundle, threads=1) as model:
        print(table(TITLES, [measure(model, c, options.limit) for c in chosen]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, help="default: the embedded nano model")
    parser.add_argument("--limit", type=int, default=600, help="questions a condition")
