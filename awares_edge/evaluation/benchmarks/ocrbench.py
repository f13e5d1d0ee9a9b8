"""OCRBench (arXiv 2305.07895): the reference must be part of the prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from awares_edge.evaluation.benchmarks.base import (
    Benchmark,
    Scored,
    image,
    mean,
    means_by,
    text,
    texts,
)
from awares_edge.evaluation.question import Question
from awares_edge.evaluation.scorers import Scorer, contains_text

# Rows of this source are formulas.
_FORMULAS = "HME100k"


class OCRBench(Benchmark):
    """A thousand questions of ten kinds about text in pictures."""

    name = "ocrbench"
    title = "OCRBench"
    repository = "echo840/OCRBench"
    files = "data/test-*.parquet"
    columns = ("dataset", "question", "question_type", "answer", "image")
    facts = ("dataset", "question_type")
    needs = ("dataset",)
    max_new_tokens = 128
    total = "ocrbench_accuracy"

    def question(self, row: Mapping[str, Any], index: int) -> Question:
        facts = {name: text(row, name) for name in self.facts}
        prompt = text(row, "question").strip()
        return Question(str(index), image(row), prompt, texts(row, "answer"), facts)

    def score(
        self,
        prediction: str,
        references: Sequence[str],
        facts: Mapping[str, str],
        scorer: Scorer,
    ) -> float:
        formula = facts["dataset"] == _FORMULAS
        return contains_text(prediction, references, formula=formula, scorer=scorer)

    def totals(self, samples: Sequence[Scored]) -> dict[str, float]:
        """Overall, and by kind of question.

        lmms-eval divides by 1,000, the number of all rows, however many were scored.
        """
        overall = mean(s.score for s in samples)
        return {"ocrbench_accuracy": overall, **means_by(samples, "question_type")}
