"""Judges: how good is an answer, and which of two is better.

The paper's judge is a language model that compares the low- and full-resolution
answers with the reference (supplement; LLaMA-3.3-70B). The others need no server;
the paper reports that ANLS labels degrade the result.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Literal

from awares_edge.training.endpoint import Endpoint
from awares_edge.training.errors import EndpointError, TrainingError

Verdict = Literal["tie", "low", "high"]


class Judge(ABC):
    """Scores an answer in [0, 1] and compares two answers to one question."""

    name: str
    margin = 0.05
    """Scores nearer than this are a tie."""

    @abstractmethod
    def score(self, question: str, reference: str, answer: str) -> float:
        """1 is right, 0 is wrong."""

    def compare(self, question: str, reference: str, low: str, high: str) -> Verdict:
        """Which resolution's answer is better (paper: 0 tie, 1 low, 2 high)."""
        a, b = self.score(question, reference, low), self.score(question, reference, high)
        if abs(a - b) < self.margin:
            return "tie"
        return "low" if a > b else "high"

    def needs_zoom(self, question: str, reference: str, low: str, high: str) -> bool:
        """HR label: the full-resolution answer is better, and the low-resolution one not right."""
        verdict = self.compare(question, reference, low, high)
        return verdict == "high" and self.score(question, reference, low) < 1.0


class ExactJudge(Judge):
    """Equal after folding case and outer white space."""

    name = "exact"

    def score(self, question: str, reference: str, answer: str) -> float:
        del question
        return float(normalise(answer) == normalise(reference))


class AnlsJudge(Judge):
    """Average normalised Levenshtein similarity of one pair; below 0.5 counts as 0 (DocVQA)."""

    name = "anls"

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold

    def score(self, question: str, reference: str, answer: str) -> float:
        del question
        a, b = normalise(answer), normalise(reference)
        longest = max(len(a), len(b))
        if longest == 0:
            return 1.0
        similarity = 1.0 - levenshtein(a, b) / longest
        return similarity if similarity >= self.threshold else 0.0


class SemanticJudge(Judge):
    """Cosine similarity of sentence embeddings (mean-pooled, normalised), clipped at 0.

    ``folder`` holds a sentence-transformers model such as all-MiniLM-L6-v2.
    """

    name = "semantic"
    margin = 0.1

    def __init__(self, folder: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model = AutoModel.from_pretrained(folder).eval()
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{folder} holds no sentence-embedding model: give --judge-model a folder with one"
            ) from error

    def score(self, question: str, reference: str, answer: str) -> float:
        import torch

        del question
        if normalise(answer) == normalise(reference):
            return 1.0
        batch = self._tokenizer([answer, reference], padding=True, return_tensors="pt")
        with torch.no_grad():
            states = self._model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].to(states.dtype)
        pooled = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
        return max(0.0, float(pooled[0] @ pooled[1]))


class EndpointJudge(Judge):
    """A language model behind an OpenAI-compatible endpoint, as in the paper."""

    name = "endpoint"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def score(self, question: str, reference: str, answer: str) -> float:
        reply = self.endpoint.chat(
            f"Question: {question}\nReference answer: {reference}\nGiven answer: {answer}\n"
            "Is the given answer right? Reply with one digit: 1 for yes, 0 for no.",
            max_tokens=4,
        )
        return float(_digit(reply, "01"))

    def compare(self, question: str, reference: str, low: str, high: str) -> Verdict:
        reply = self.endpoint.chat(
            f"Question: {question}\nReference answer: {reference}\nAnswer A: {low}\n"
            f"Answer B: {high}\nWhich answer agrees better with the reference? Reply with one "
            "digit: 0 if they are equally good or equally bad, 1 if A is better, 2 if B is better.",
            max_tokens=4,
        )
        verdicts: tuple[Verdict, ...] = ("tie", "low", "high")
        return verdicts[int(_digit(reply, "012"))]


def _digit(reply: str, allowed: str) -> str:
    match = re.search(rf"(?<!\d)[{allowed}](?!\d)", reply)
    if match is None:
        raise EndpointError(f"the judge answered {reply[:60]!r} instead of a digit")
    return match[0]


def normalise(text: str) -> str:
    """Case folded, white space collapsed."""
    return " ".join(text.casefold().split())


def levenshtein(a: str, b: str) -> int:
    """Edit distance in characters."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]
