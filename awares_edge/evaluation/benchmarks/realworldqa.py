"""RealWorldQA: photographs from cars and of everyday places, mostly with options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from awares_edge.evaluation.benchmarks.base import Benchmark, image, text
from awares_edge.evaluation.question import Question
from awares_edge.evaluation.scorers import Scorer, real_world


class RealWorldQA(Benchmark):
    """765 questions about space, counts and signs."""

    name = "realworldqa"
    title = "RealWorldQA"
    repository = "lmms-lab/RealWorldQA"
    files = "data/test-*.parquet"
    columns = ("image", "question", "answer")
    facts = ("question",)
    needs = ("question",)
    max_new_tokens = 16
    total = "exact_match"

    def question(self, row: Mapping[str, Any], index: int) -> Question:
        question = text(row, "question")
        facts = {"question": question}
        return Question(str(index), image(row), question.strip(), (text(row, "answer"),), facts)

    def score(
        self,
        prediction: str,
        references: Sequence[str],
        facts: Mapping[str, str],
        scorer: Scorer,
    ) -> float:
        return real_world(prediction, references[0], facts["question"], scorer)
