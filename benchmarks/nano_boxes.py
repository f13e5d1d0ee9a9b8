"""Compares the two ways to look closer on nano: crops of the fixed set, and one free box.

    python benchmarks/nano_boxes.py [--questions 2000] [--runtime torch] [--only boxes]

Both checkpoints answer the same questions of the test split through the controller. The table is
that of checkpoints/nano-box/README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import awares_edge  # noqa: E402
from awares_edge import Answer, AskOptions  # noqa: E402
from awares_edge.evaluation.answers import is_right  # noqa: E402
from awares_edge.evaluation.synthetic import questions  # noqa: E402
from awares_edge.synth.canvas import union  # noqa: E402
from awares_edge.synth.sample import SIDE, Question  # noqa: E402
from awares_edge.synth.text import Box  # noqa: E402
from benchmarks.markdown import table  # noqa: E402

WAYS = {
    "crop set": (ROOT / "checkpoints" / "nano", "nano"),
    "boxes": (ROOT / "checkpoints" / "nano-box", ROOT / "recipes" / "nano" / "box.toml"),
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

    def overlap(self) -> tuple[float, float]:
        """(IoU of what was sent with the evidence's box, share of the evidence's area in it)."""
        boxes = [crop.box for crop in self.answer.crops]
        sent = _mask(boxes)
        whole, evidence = _mask([union(*self.question.evidence)]), _mask(self.question.evidence)
        both = (sent & whole).sum() / (sent | whole).sum()
        return float(both), float((sent & evidence).sum() / evidence.sum())


def _mask(boxes: Sequence[Box]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    pixels = np.zeros((SIDE, SIDE), np.bool_)
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = True
    return pixels


def ask_all(way: str, runtime: str, count: int) -> list[Asked]:
    """Answers of one checkpoint to the test questions."""
    checkpoint, protocol = WAYS[way]
    asked = []
    with awares_edge.load(checkpoint, runtime=runtime, protocol=protocol, threads=1) as model:
        for _, image, chosen in questions("test", 0, count):
            with model.open(image) as picture:
                for question in chosen:
                    answer = picture.ask(question.text, AskOptions(max_new_tokens=24))
                    asked.append(Asked(question, answer))
    return asked


def scores(asked: Sequence[Asked]) -> dict[str, float]:
    """One column of the table."""
    small = [a for a in asked if a.question.size == "small"]
    calls = [a for a in asked if a.called]
    found = [a for a in small if a.answer.crops]
    overlaps = np.array([a.overlap() for a in found]).reshape(-1, 2)
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
        "evidence covered": float(overlaps[:, 1].mean()),
        "all evidence covered": float((overlaps[:, 1] == 1).mean()),
        **{f"small text, {kind}": _kind(small, kind) for kind in KINDS},
    }


def _kind(small: Sequence[Asked], kind: str) -> float:
    return _mean([a.right for a in small if a.question.kind == kind])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--runtime", default="torch")
    parser.add_argument("--only", choices=list(WAYS))
    options = parser.parse_args()
    ways = [options.only] if options.only else list(WAYS)
    columns = {way: scores(ask_all(way, options.runtime, options.questions)) for way in ways}
    rows = [[name, *(columns[way][name] for way in ways)] for name in columns[ways[0]]]
    print(table(" | ".join([f"{options.questions} questions", *ways]), rows))


if __name__ == "__main__":
    main()
