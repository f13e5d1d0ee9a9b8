"""The outcome of each question, and their sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from awares_edge.evaluation.intervals import wilson


@dataclass
class Outcome:
    """The outcome of one question.

    Attributes:
        needs_zoom: by the drawn size of what must be read.
        visual_tokens, full_tokens: spent, and the cost of the whole picture.
    """

    family: str
    kind: str
    size: str
    question: str
    expected: str
    answer: str
    correct: bool
    needs_zoom: bool
    crops: tuple[str, ...]
    crops_sufficient: bool
    call_status: str
    visual_tokens: int
    full_tokens: int
    total_ms: float


@dataclass
class Report:
    """Sums over outcomes; ``to_dict`` is what ``evaluate synth --json`` prints.

    ``accuracy_ci`` is the 95% Wilson interval of ``accuracy``. A share with a zero
    denominator is None: precision without calls, recall where no call was needed.

    Attributes:
        skipped: pictures that could not be used, each with the reason; their remaining questions
            were not asked and are not counted.
        refusals: questions that were not asked because no picture reached the model, by reason.
            ``accuracy_of_all`` counts them as wrong; ``accuracy`` does not count them.
    """

    mode: str
    outcomes: list[Outcome] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        """Questions that were not asked because no picture reached the model."""
        return sum(self.refusals.values())

    def refuse(self, reason: str, questions: int) -> None:
        """Count the questions about a picture that did not reach the model."""
        self.refusals[reason] = self.refusals.get(reason, 0) + questions

    def to_dict(self) -> dict[str, Any]:
        o = self.outcomes
        kinds = sorted({(x.kind, x.size) for x in o})
        accuracy = _mean([x.correct for x in o])
        return {
            "mode": self.mode,
            "questions": len(o),
            "skipped": len(self.skipped),
            "skipped_pictures": self.skipped,
            "accuracy": accuracy,
            "accuracy_ci": [round(x, 4) for x in wilson(accuracy or 0.0, len(o))],
            **self._refusals(),
            "rtr": _mean([x.visual_tokens / x.full_tokens for x in o]),
            "direct_share": _mean([not x.crops for x in o]),
            "needs_zoom_share": _mean([x.needs_zoom for x in o]),
            "accuracy_needs_zoom": _mean([x.correct for x in o if x.needs_zoom]),
            "accuracy_other": _mean([x.correct for x in o if not x.needs_zoom]),
            **self._calls(),
            "by_kind": {
                f"{kind} ({size})": {
                    "questions": len(group),
                    "accuracy": _mean([x.correct for x in group]),
                    "zoomed": _mean([bool(x.crops) for x in group]),
                }
                for kind, size in kinds
                if (group := [x for x in o if (x.kind, x.size) == (kind, size)])
            },
            "ms_mean": _mean([x.total_ms for x in o]),
            "ms_p50": round(float(np.median([x.total_ms for x in o])), 2) if o else None,
            "ms_p95": round(float(np.quantile([x.total_ms for x in o], 0.95)), 2) if o else None,
        }

    def _refusals(self) -> dict[str, Any]:
        """What was refused; nothing where everything reached the model."""
        if not self.refusals:
            return {}
        count = len(self.outcomes) + self.refused
        right = sum(x.correct for x in self.outcomes) / count
        return {
            "refused": self.refused,
            "refusals": self.refusals,
            "accuracy_of_all": round(right, 4),
            "accuracy_of_all_ci": [round(x, 4) for x in wilson(right, count)],
        }

    def _calls(self) -> dict[str, float | None]:
        """Precision, recall and validity of the model's calls."""
        o = self.outcomes
        called = [x for x in o if x.crops or x.call_status not in ("none", "")]
        wanted = [x for x in o if x.needs_zoom]
        both = [x for x in called if x.needs_zoom]
        return {
            "call_precision": _share(len(both), len(called)),
            "call_recall": _share(len(both), len(wanted)),
            "call_f1": _share(2 * len(both), len(called) + len(wanted)),
            "valid_calls": _mean([x.call_status == "ok" for x in called]),
            "right_crop": _mean([x.crops_sufficient for x in wanted]),
            "right_crop_when_called": _mean([x.crops_sufficient for x in both]),
        }


def _mean(values: list[bool] | list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
