"""V* (arXiv 2312.14135): small objects in large pictures, with options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from awares_edge.evaluation.benchmarks.base import (
    Benchmark,
    Scored,
    identifier,
    image,
    mean,
    means_by,
    text,
)
from awares_edge.evaluation.question import Question
from awares_edge.evaluation.scorers import Scorer, first_letter

_OPTION = re.compile(r"\([A-D]\)\s*([^()]+?)(?=\s*\([A-D]\)|$)")


class VStar(Benchmark):
    """191 questions about attributes and positions."""

    name = "vstar"
    title = "V*"
    repository = "lmms-lab/vstar-bench"
    files = "data/test-*.parquet"
    columns = ("image", "text", "label", "question_id", "category")
    optional = ("question_id",)
    facts = ("category",)
    max_new_tokens = 16
    total = "vstar_overall_acc"

    def question(self, row: Mapping[str, Any], index: int) -> Question:
        prompt = (
            f"{with_options(text(row, 'text'))}\n"
            "Answer with the option's letter from the given choices directly."
        )
        facts = {"category": text(row, "category")}
        name = identifier(row, "question_id", index)
        return Question(name, image(row), prompt, (text(row, "label"),), facts)

    def score(
        self,
        prediction: str,
        references: Sequence[str],
        facts: Mapping[str, str],  # noqa: ARG002
        scorer: Scorer,  # noqa: ARG002
    ) -> float:
        return float(first_letter(prediction) == references[0].strip().upper())

    def totals(self, samples: Sequence[Scored]) -> dict[str, float]:
        """Overall and by category."""
        by_category = means_by(samples, "category")
        return {
            "vstar_overall_acc": mean(s.score for s in samples),
            **{f"vstar_{name}_acc": value for name, value in by_category.items()},
        }


def with_options(question: str) -> str:
    """The question with its options a line each: "(A) red (B) blue" becomes "A. red", "B. blue"."""
    options = _OPTION.findall(question)
    if not options:
        return question
    lines = [f"{letter}. {option.strip()}" for letter, option in zip("ABCD", options, strict=False)]
    return "\n".join([question.split("(A)")[0].strip(), *lines])
