"""The user's own questions: a file of JSON lines."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from awares_edge.errors import InputError
from awares_edge.evaluation.answers import is_right
from awares_edge.evaluation.benchmarks.base import Rules, identifier, text, texts
from awares_edge.evaluation.question import BadQuestion, Question
from awares_edge.evaluation.scorers import Scorer
from awares_edge.evaluation.suites.base import Selection, Suite
from awares_edge.lines import numbered_lines, parse_line


class OwnRules(Rules):
    """An answer is right if it equals a reference, apart from case and white space."""

    title = "own questions"
    max_new_tokens = 128
    total = "accuracy"

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]

    def score(
        self,
        prediction: str,
        references: Sequence[str],
        facts: Mapping[str, str],  # noqa: ARG002
        scorer: Scorer,  # noqa: ARG002
    ) -> float:
        return float(any(is_right(prediction, reference) for reference in references))


class OwnSuite(Suite):
    """A line is {"image": path, "question": text, "answer" or "answers": text or list}.

    Paths are relative to the file. "id" names the question; other texts are kept as facts. Empty
    lines are not counted.
    """

    def __init__(self, path: Path) -> None:
        """Count the lines.

        Raises:
            InputError: the file cannot be read, or is empty.
        """
        self.path = path
        self.rules = OwnRules(_name(path.stem))
        digest = hashlib.sha256()
        self.count = 0
        for _, line in numbered_lines(self.path):
            digest.update(line)
            self.count += 1
        if not self.count:
            raise InputError(f"{path} has no questions")
        self._sha256 = digest.hexdigest()

    def read(self, selection: Selection) -> Iterator[tuple[int, Question | BadQuestion]]:
        for index, (_, line) in enumerate(numbered_lines(self.path)):
            if selection.ended(index):
                return
            if not selection.wants(index):
                continue
            try:
                yield index, self._question(line, index)
            except InputError as error:
                yield index, BadQuestion(str(error))

    def pins(self) -> dict[str, Any]:
        return {"file": self.path.name, "sha256": self._sha256}

    def _question(self, line: bytes, index: int) -> Question:
        try:
            row = parse_line(line, "the row")
            json.dumps(row, ensure_ascii=False).encode("utf-8")  # JSON can spell half characters
        except UnicodeEncodeError as error:
            raise InputError("the row is not valid Unicode") from error
        image = text(row, "image")
        if "\0" in image:
            raise InputError("'image' must be a path")
        references = texts(row, "answers" if "answers" in row else "answer")
        known = ("image", "question", "answer", "answers", "id")
        facts = {k: v for k, v in row.items() if k not in known and isinstance(v, str)}
        name = identifier(row, "id", index)
        return Question(name, self.path.parent / image, text(row, "question"), references, facts)


def _name(stem: str) -> str:
    """A folder's name; never one of another suite's."""
    return "own-" + re.sub(r"[^\w.-]", "_", stem, flags=re.ASCII)[:100]
