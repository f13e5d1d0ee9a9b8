"""POPE (arXiv 2305.10355): is an object in the picture, yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks.base import (
    Benchmark,
    Scored,
    identifier,
    image,
    mean,
    text,
)
from awares_edge.evaluation.question import Question
from awares_edge.evaluation.scorers import Scorer, equals


class POPE(Benchmark):
    """9,000 questions about objects that are or are not there."""

    name = "pope"
    title = "POPE"
    repository = "lmms-lab/POPE"
    files = "data/test-*.parquet"
    columns = ("id", "question_id", "question", "answer", "image", "category")
    optional = ("id", "question_id", "category")
    max_new_tokens = 128
    total = "pope_accuracy"

    def question(self, row: Mapping[str, Any], index: int) -> Question:
        answer = text(row, "answer")
        if answer.lower().strip() not in ("yes", "no"):
            raise InputError("column 'answer' must be yes or no")
        question = text(row, "question").strip()
        prompt = f"{question}\nAnswer the question using a single word or phrase."
        # `question_id` repeats in each category, `id` does not.
        return Question(identifier(row, "id", index), image(row), prompt, (answer,))

    def score(
        self,
        prediction: str,
        references: Sequence[str],
        facts: Mapping[str, str],  # noqa: ARG002
        scorer: Scorer,  # noqa: ARG002
    ) -> float:
        return equals(prediction, references[0])

    def totals(self, samples: Sequence[Scored]) -> dict[str, float]:
        """Accuracy, precision, recall and F1 of "yes".

        The yes ratio is of the references, as lmms-eval computes it. A prediction that is neither
        yes nor no counts only for accuracy.
        """
        pairs = [(_word(s.references[0]), _word(s.prediction)) for s in samples]
        hits = pairs.count(("yes", "yes"))
        precision = _share(hits, pairs.count(("no", "yes")))
        recall = _share(hits, pairs.count(("yes", "no")))
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        return {
            "pope_accuracy": mean(s.score for s in samples),
            "pope_precision": precision,
            "pope_recall": recall,
            "pope_f1_score": f1,
            "pope_yes_ratio": mean(wanted == "yes" for wanted, _ in pairs),
        }


def _word(answer: str) -> str:
    return answer.lower().strip()


def _share(hits: int, misses: int) -> float:
    return hits / (hits + misses) if hits + misses else 0.0
