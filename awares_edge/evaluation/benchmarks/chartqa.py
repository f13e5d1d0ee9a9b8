"""ChartQA (arXiv 2203.10244): numbers may be 5% off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from awares_edge.evaluation.benchmarks.base import (
    Benchmark,
    Scored,
    image,
    mean,
    text,
)
from awares_edge.evaluation.question import Question
from awares_edge.evaluation.scorers import Scorer, relaxed_accuracy


class ChartQA(Benchmark):
    """Questions about charts, written by people or generated."""

    name = "chartqa"
    title = "ChartQA"
    repository = "lmms-lab/ChartQA"
    files = "data/test-*.parquet"
    columns = ("type", "question", "answer", "image")
    facts = ("type",)
    max_new_tokens = 16
    total = "relaxed_overall"

    def question(self, row: Mapping[str, Any], index: int) -> Question:
        prompt = f"{text(row, 'question')}\nAnswer the question with a single word."
        facts = {"type": text(row, "type")}
        return Question(str(index), image(row), prompt, (text(row, "answer"),), facts)

    def score(
        self,
        prediction: str,
        references: Sequence[str],
        facts: Mapping[str, str],  # noqa: ARG002
        scorer: Scorer,  # noqa: ARG002
    ) -> float:
        return relaxed_accuracy(prediction, references[0])

    def totals(self, samples: Sequence[Scored]) -> dict[str, float]:
        """Overall, and by who wrote the question."""
        human = [s.score for s in samples if s.facts.get("type") == "human_test"]
        augmented = [s.score for s in samples if s.facts.get("type") != "human_test"]
        return {
            "relaxed_overall": mean(s.score for s in samples),
            "relaxed_human_split": mean(human),
            "relaxed_augmented_split": mean(augmented),
        }
