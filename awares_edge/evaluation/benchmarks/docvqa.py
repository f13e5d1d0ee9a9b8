"""DocVQA (arXiv 2007.00398), validation split: similarity of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from awares_edge.evaluation.benchmarks.base import (
    Benchmark,
    identifier,
    image,
    text,
    texts,
)
from awares_edge.evaluation.question import Question
from awares_edge.evaluation.scorers import Scorer, anls


class DocVQA(Benchmark):
    """Questions about scanned documents."""

    name = "docvqa"
    title = "DocVQA"
    repository = "lmms-lab/DocVQA"
    files = "DocVQA/validation-*.parquet"
    columns = ("questionId", "question", "answers", "image")
    optional = ("questionId",)
    packages: ClassVar[Mapping[str, str]] = {"rapidfuzz": "awares-edge[evaluate]"}
    max_new_tokens = 32
    total = "anls"
    graded = True

    def question(self, row: Mapping[str, Any], index: int) -> Question:
        prompt = f"{text(row, 'question')}\nAnswer the question using a single word or phrase."
        return Question(
            identifier(row, "questionId", index), image(row), prompt, texts(row, "answers")
        )

    def score(
        self,
        prediction: str,
        references: Sequence[str],
        facts: Mapping[str, str],  # noqa: ARG002
        scorer: Scorer,  # noqa: ARG002
    ) -> float:
        return anls(prediction, references)
