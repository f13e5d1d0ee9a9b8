"""The synthetic suite's questions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from awares_edge.evaluation.answers import is_right
from awares_edge.evaluation.benchmarks.base import Rules, Scored, mean, means_by
from awares_edge.evaluation.question import BadQuestion, Question
from awares_edge.evaluation.scorers import Scorer
from awares_edge.evaluation.suites.base import Selection, Suite
from awares_edge.evaluation.synthetic import (
    MAX_NEW_TOKENS,
    PictureControl,
    needed_crops,
    questions,
    shown_pictures,
)
from awares_edge.evaluation.views import Refused, View
from awares_edge.synth.generate import Split
from awares_edge.synth.sample import Question as Drawn


class SynthRules(Rules):
    """There is one right answer, apart from case and white space."""

    name = "synth"
    title = "synthetic suite"
    facts = ("family", "kind", "size", "evidence", "crops")
    max_new_tokens = MAX_NEW_TOKENS
    total = "accuracy"

    def score(
        self,
        prediction: str,
        references: Sequence[str],
        facts: Mapping[str, str],  # noqa: ARG002
        scorer: Scorer,  # noqa: ARG002
    ) -> float:
        return float(is_right(prediction, references[0]))

    def totals(self, samples: Sequence[Scored]) -> dict[str, float]:
        """Overall, by size of the text that must be read, and by family."""
        return {
            "accuracy": mean(s.score for s in samples),
            **{f"size_{k}": v for k, v in means_by(samples, "size").items()},
            **{f"family_{k}": v for k, v in means_by(samples, "family").items()},
        }


class SynthSuite(Suite):
    """Questions drawn from a seed; the picture is drawn when its question is read.

    Facts: "family", "kind" and "size" as in `awares_edge.synth`, "evidence" as JSON boxes in
    pixels, and "crops", the smallest crop ids that hold it ("" where none is needed).
    Questions about pictures that the view refuses are bad rows, with the reason.
    """

    def __init__(
        self,
        split: Split = "test",
        seed: int = 0,
        limit: int = 2000,
        families: tuple[str, ...] = (),
        control: PictureControl = "right",
        view: View | None = None,
    ) -> None:
        self.rules = SynthRules()
        self.count = limit
        self._drawn = (split, seed, limit, families)
        self._control = control
        self._view = view

    def read(self, selection: Selection) -> Iterator[tuple[int, Question | BadQuestion]]:
        index = 0
        drawn = questions(*self._drawn)
        for family, image, chosen in shown_pictures(drawn, self._control, self._view):
            for q in chosen:
                if selection.ended(index):
                    return
                if selection.wants(index):
                    yield index, _row(index, family, image, q)
                index += 1

    def pins(self) -> dict[str, Any]:
        split, seed, limit, families = self._drawn
        return {
            "split": split,
            "seed": seed,
            "questions": limit,
            "families": list(families),
            "control": self._control,
            **(self._view.pins() if self._view else {}),
        }

    def evidence(self, question: Question) -> tuple[str, ...]:
        crops = question.facts["crops"]
        return tuple(crops.split(",")) if crops else ()


def _row(index: int, family: str, image: Image.Image | Refused, q: Drawn) -> Question | BadQuestion:
    if isinstance(image, Refused):
        return BadQuestion(image.reason)
    facts = {
        "family": family,
        "kind": q.kind,
        "size": q.size,
        "evidence": json.dumps(q.evidence),
        "crops": ",".join(needed_crops(q)),
    }
    return Question(str(index), image, q.text, (q.answer,), facts)
