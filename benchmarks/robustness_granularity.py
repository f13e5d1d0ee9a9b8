"""How fine a set of crops should be: evidence held, visual tokens, accuracy and latency.

The smallest choice of one or two candidates that holds all the evidence is sent, else the whole
picture; the low-res view comes first, as always. Nano is shown these crops by force (`crops=`), so
the numbers are of the set and not of the model's choice. The suite keeps text away from the
dividing lines of the paper's set, which favours it; "anywhere" puts the same evidence boxes at
uniformly random places instead, and asks no model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge.controller.model import Model  # noqa: E402
from awares_edge.controller.options import AskOptions  # noqa: E402
from awares_edge.evaluation.answers import is_right  # noqa: E402
from awares_edge.evaluation.synthetic import MAX_NEW_TOKENS, questions  # noqa: E402
from awares_edge.protocol import Box, ProtocolProfile, crop_box  # noqa: E402
from awares_edge.protocol.crops import Crop  # noqa: E402
from awares_edge.synth.sample import SIDE, Question  # noqa: E402
from awares_edge.vision import visual_tokens  # noqa: E402
from benchmarks.markdown import table  # noqa: E402

WHOLE: Box = (0, 0, SIDE, SIDE)
LOW_TOKENS, FULL_TOKENS = 16, 64


@dataclass(frozen=True)
class CropSet:
    """Candidate regions of a picture; none where the evidence's own box is cut out."""

    title: str
    boxes: tuple[Box, ...]

    def choose(self, evidence: Sequence[Box]) -> tuple[Box, ...]:
        """The cheapest one or two candidates that hold every box whole, else the whole picture."""
        if not self.boxes:
            return (_around(evidence),)
        holding = [
            choice
            for count in (1, 2)
            for choice in combinations(self.boxes, count)
            if all(any(_holds(crop, box) for crop in choice) for box in evidence)
        ]
        best = min(holding, key=lambda c: (tokens(c), len(c)), default=(WHOLE,))
        return best if tokens(best) < FULL_TOKENS else (WHOLE,)


class Cut(ProtocolProfile):
    """A profile that cuts the boxes of one question in place of the crop set's."""

    boxes: tuple[Box, ...] = ()

    def crop(self, crop_id: str, size: tuple[int, int]) -> Crop:  # noqa: ARG002
        return Crop(Cut.boxes[int(crop_id)], crop_id)


def grid(cells: int, size: int, step: int) -> tuple[Box, ...]:
    """`cells` x `cells` windows of `size` pixels, `step` apart; the last ones end at the edge."""
    starts = [min(i * step, SIDE - size) for i in range(cells)]
    return tuple((x, y, x + size, y + size) for y in starts for x in starts)


def paper_set() -> tuple[Box, ...]:
    return tuple(crop_box(str(i), SIDE, SIDE, "halves") for i in range(9))


SETS = (
    CropSet("2 x 2", grid(2, 112, 112)),
    CropSet("2 x 2, center, halves (paper)", paper_set()),
    CropSet("3 x 3", grid(3, 75, 75)),
    CropSet("3 x 3 of half a side, overlapping", grid(3, 112, 56)),
    CropSet("4 x 4", grid(4, 56, 56)),
    CropSet("7 x 7 of a quarter, overlapping", grid(7, 56, 28)),
    CropSet("the evidence's own box", ()),
)


def tokens(boxes: Sequence[Box]) -> int:
    """Visual tokens of these crops."""
    return sum(
        visual_tokens(b[2] - b[0], b[3] - b[1], min_pixels=3136, max_pixels=50176) for b in boxes
    )


def measure(model: Model, crop_set: CropSet, limit: int) -> list[object]:
    """A row of the table, over the test split's questions about small text."""
    chosen, right, times = [], [], []
    for image, question in small_text(limit):
        boxes = crop_set.choose(question.evidence)
        Cut.boxes = boxes
        ids = tuple(str(i) for i in range(len(boxes)))
        with model.open(image) as picture:
            options = AskOptions(crops=ids, max_new_tokens=MAX_NEW_TOKENS)
            answer = picture.ask(question.text, options)
        chosen.append(boxes)
        right.append(is_right(answer.text, question.answer))
        times.append(answer.total_ms)
    moved = [crop_set.choose(evidence) for evidence in anywhere(limit)]
    return [
        crop_set.title,
        len(crop_set.boxes) or None,
        *_held(chosen),
        _rtr(chosen),
        sum(right) / len(right),
        round(statistics.median(times), 1),
        *_held(moved)[:1],
        _rtr(moved),
    ]


def small_text(limit: int) -> Iterator[tuple[object, Question]]:
    """Pictures and questions about small text, of the `limit` that `evaluate synth` asks."""
    for _, image, chosen in questions("test", 0, limit):
        yield from ((image, q) for q in chosen if q.size == "small")


def anywhere(limit: int) -> Iterator[list[Box]]:
    """The evidence of those questions, moved as one to a random place."""
    rng = np.random.default_rng(3)
    for _, question in small_text(limit):
        left, top, right, bottom = _around(question.evidence, 0)
        dx, dy = rng.integers(-left, SIDE - right + 1), rng.integers(-top, SIDE - bottom + 1)
        yield [
            (b[0] + int(dx), b[1] + int(dy), b[2] + int(dx), b[3] + int(dy))
            for b in question.evidence
        ]


def _held(chosen: Sequence[Sequence[Box]]) -> tuple[float, float]:
    """Shares of one crop, and of the whole picture."""
    whole = sum(tuple(boxes) == (WHOLE,) for boxes in chosen)
    one = sum(len(boxes) == 1 for boxes in chosen) - whole
    return one / len(chosen), whole / len(chosen)


def _rtr(chosen: Sequence[Sequence[Box]]) -> float:
    return (LOW_TOKENS + statistics.mean(map(tokens, chosen))) / FULL_TOKENS


def _holds(crop: Box, box: Sequence[float]) -> bool:
    inside = crop[0] <= box[0] and crop[1] <= box[1]
    return inside and crop[2] >= box[2] and crop[3] >= box[3]


def _around(evidence: Sequence[Box], margin: int = 4) -> Box:
    """The box around all evidence, with a margin in pixels."""
    left, top = (max(0, min(b[i] for b in evidence) - margin) for i in (0, 1))
    right, bottom = (min(SIDE, max(b[i] for b in evidence) + margin) for i in (2, 3))
    return (left, top, right, bottom)


def run(options: argparse.Namespace) -> None:
    """Print one row for each set."""
    with awares_edge.load(options.bundle, threads=1) as loaded:
        own = loaded.protocol
        profile = Cut(**{field.name: getattr(own, field.name) for field in fields(own)})
        model = Model(
            loaded.runtime, loaded.tokenizer, loaded.special, profile, loaded.preprocessing
        )
        rows = [measure(model, crop_set, options.limit) for crop_set in SETS]
    titles = "set | crops | one holds | whole | RTR | accuracy | ms | one, anywhere | RTR, anywhere"
    print(table(titles, rows))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, help="default: the embedded nano model")
    parser.add_argument("--limit", type=int, default=1000, help="test questions to draw from")
