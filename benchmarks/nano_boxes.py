"""Compares the two ways to look closer on nano: crops of the fixed set, and one free box.

    python benchmarks/nano_boxes.py [--questions 1000] [--only boxes]

Both models answer the same questions of the test split through the controller: the embedded bundle
(onnxruntime) and checkpoints/nano-box (transformers, fp32). The table is that of the latter's model
card.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge import Answer, AskOptions  # noqa: E402
from awares_edge.evaluation.answers import is_right  # noqa: E402
from awares_edge.evaluation.synthetic import questions  # noqa: E402
from awares_edge.protocol import crop_box  # noqa: E402
from awares_edge.synth.canvas import union  # noqa: E402
from awares_edge.synth.oracle import smallest_crops  # noqa: E402
from awares_edge.synth.sample import SIDE, Question  # noqa: E402
from awares_edge.synth.text import Box  # noqa: E402
from benchmarks.markdown import table  # noqa: E402
from recipes.nano.boxes import source_box, target_box  # noqa: E402

WAYS: dict[str, dict[str, Any]] = {
    "crop set": {},
    "boxes": {
        "path": ROOT / "checkpoints" / "nano-box",
        "runtime": "torch",
        "protocol": str(ROOT / "recipes" / "nano" / "box.toml"),
    },
}
KINDS = ("label", "value", "field", "title", "two labels", "all values", "total", "reference")


@dataclass(frozen=True)
class Asked:
    """A question and what came of it."""

    question: Question
    answer: Answer

    @property
    def right(self) -> bool:
        return is_right(self.answer.text, self.question.answer)

    @property
    def rtr(self) -> float:
        tokens = self.answer.visual_tokens
        return (tokens.low + tokens.crops) / tokens.full

    @property
    def called(self) -> bool:
        return self.answer.call_status != "none"

    def overlap(self, way: str) -> tuple[float, float, float]:
        """How what was sent overlaps with what is needed.

        Returns:
            its IoU with the box around the evidence, its IoU with the smallest region of its kind
            that holds the evidence, and the share of the evidence's area in it.
        """
        evidence = self.question.evidence
        best = [source_box(target_box(evidence))]
        if way == "crop set":
            best = [crop_box(c, SIDE, SIDE, rule="halves") for c in smallest_crops(evidence)]
        sent, needed = _mask([crop.box for crop in self.answer.crops]), _mask(evidence)
        covered = float((sent & needed).sum() / needed.sum())
        return _iou(sent, _mask([union(*evidence)])), _iou(sent, _mask(best)), covered


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def _mask(boxes: Sequence[Box]) -> NDArray[np.bool_]:
    pixels = np.zeros((SIDE, SIDE), np.bool_)
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = True
    return pixels


def ask_all(way: str, count: int) -> list[Asked]:
    """Answers of one model to the test questions."""
    asked = []
    with awares_edge.load(**WAYS[way], threads=1) as model:
        for _, image, chosen in questions("test", 0, count):
            with model.open(image) as picture:
                for question in chosen:
                    answer = picture.ask(question.text, AskOptions(max_new_tokens=24))
                    asked.append(Asked(question, answer))
    return asked


def scores(way: str, asked: Sequence[Asked]) -> dict[str, float]:
    """One column of the table."""
    small = [a for a in asked if a.question.size == "small"]
    calls = [a for a in asked if a.called]
    found = [a for a in small if a.answer.crops]
    overlaps = np.array([a.overlap(way) for a in found]).reshape(-1, 3)
    wanted = [a for a in calls if a.question.size == "small"]
    return {
        "accuracy": _mean([a.right for a in asked]),
        "accuracy, small text": _mean([a.right for a in small]),
        "accuracy, other": _mean([a.right for a in asked if a.question.size != "small"]),
        "RTR": _mean([a.rtr for a in asked]),
        "visual tokens of a call": _mean([a.answer.visual_tokens.crops for a in found]),
        "generated tokens of a call": _mean([a.answer.turns[0].decode_tokens for a in found]),
        "valid calls": _mean([a.answer.call_status == "ok" for a in calls]),
        "call recall": len(wanted) / len(small),
        "call precision": len(wanted) / len(calls) if calls else float("nan"),
        "IoU with the evidence": float(overlaps[:, 0].mean()),
        "IoU with the smallest region": float(overlaps[:, 1].mean()),
        "evidence covered": float(overlaps[:, 2].mean()),
        "all evidence covered": float((overlaps[:, 2] == 1).mean()),
        **{f"small text, {kind}": _kind(small, kind) for kind in KINDS},
    }


def _kind(small: Sequence[Asked], kind: str) -> float:
    return _mean([a.right for a in small if a.question.kind == kind])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--only", choices=list(WAYS))
    options = parser.parse_args()
    ways = [options.only] if options.only else list(WAYS)
    columns = {way: scores(way, ask_all(way, options.questions)) for way in ways}
    rows = [[name, *(columns[way][name] for way in ways)] for name in columns[ways[0]]]
    print(table(" | ".join([f"{options.questions} questions", *ways]), rows))


if __name__ == "__main__":
    main()
