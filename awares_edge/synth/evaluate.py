"""Measures a model on the synthetic suite, through the public controller API.

Modes: ``awares`` (the model decides), ``full`` and ``low`` (baselines that never
zoom), ``always-full`` (the model decides when, the whole picture is what it gets:
VisionThink's way), ``random-crop`` (the model decides when, chance decides where)
and ``oracle-crop`` (known evidence decides both).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.controller.picture import Picture
from awares_edge.controller.trace import Answer
from awares_edge.errors import InputError
from awares_edge.synth.generate import Split, balanced, generate
from awares_edge.synth.intervals import wilson
from awares_edge.synth.oracle import QUARTERS, is_sufficient, smallest_crops
from awares_edge.synth.sample import SIDE, Question

EvalMode = Literal["awares", "full", "low", "always-full", "random-crop", "oracle-crop"]
MODES: tuple[EvalMode, ...] = get_args(EvalMode)
PictureControl = Literal["right", "blank", "other"]
QUESTIONS_PER_PICTURE = 6
_MAX_NEW_TOKENS = 24


@dataclass
class Outcome:
    """What became of one question.

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

    ``accuracy_ci`` is the 95% Wilson interval of ``accuracy``.
    """

    mode: EvalMode
    outcomes: list[Outcome] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        o = self.outcomes
        kinds = sorted({(x.kind, x.size) for x in o})
        accuracy = _mean([x.correct for x in o])
        return {
            "mode": self.mode,
            "questions": len(o),
            "accuracy": accuracy,
            "accuracy_ci": [round(x, 4) for x in wilson(accuracy, len(o))],
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
            "ms_p50": round(float(np.median([x.total_ms for x in o])), 2) if o else 0.0,
            "ms_p95": round(float(np.quantile([x.total_ms for x in o], 0.95)), 2) if o else 0.0,
        }

    def _calls(self) -> dict[str, float]:
        o = self.outcomes
        called = [x for x in o if x.crops or x.call_status not in ("none", "")]
        wanted = [x for x in o if x.needs_zoom]
        both = [x for x in called if x.needs_zoom]
        precision = len(both) / max(1, len(called))
        recall = len(both) / max(1, len(wanted))
        return {
            "call_precision": round(precision, 4),
            "call_recall": round(recall, 4),
            "call_f1": round(2 * precision * recall / max(1e-9, precision + recall), 4),
            "valid_calls": _mean([x.call_status == "ok" for x in called]),
            "right_crop": _mean([x.crops_sufficient for x in wanted]),
            "right_crop_when_called": _mean([x.crops_sufficient for x in both]),
        }


def _mean(values: list[bool] | list[float]) -> float:
    return round(float(np.mean(values)), 4) if values else 0.0


def questions(
    split: Split, seed: int, limit: int, families: tuple[str, ...] = ()
) -> Iterator[tuple[str, Image.Image, list[Question]]]:
    """(family, picture, its questions) until ``limit`` questions have been given."""
    given = index = 0
    while given < limit:
        name = families[index % len(families)] if families else None
        sample = generate(split, seed, index, family=name)
        rng = np.random.default_rng([seed, index, 5])
        chosen = balanced(rng, sample.questions, QUESTIONS_PER_PICTURE)[: limit - given]
        given += len(chosen)
        index += 1
        yield sample.family, Image.fromarray(sample.picture), chosen


def evaluate(
    model: Model,
    mode: EvalMode,
    *,
    split: Split = "test",
    seed: int = 0,
    limit: int = 2000,
    families: tuple[str, ...] = (),
    control: PictureControl = "right",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Ask every question of a split and score the answers (exact match, case ignored).

    ``control`` replaces the picture by a blank one or by the one before, to show
    what guessing gives.
    """
    if mode not in MODES:
        raise InputError(f"no mode {mode!r}: choose one of {', '.join(MODES)}")
    report = Report(mode)
    before: Image.Image | None = None
    rng = np.random.default_rng([seed, 11])
    for family, image, chosen in questions(split, seed, limit, families):
        shown = image
        if control == "blank":
            shown = Image.new("RGB", (SIDE, SIDE), (238, 238, 238))
        elif control == "other":
            shown = before or Image.new("RGB", (SIDE, SIDE), (238, 238, 238))
        before = image
        with model.open(shown) as picture:
            for question in chosen:
                answer = _ask(picture, question, mode, rng)
                report.outcomes.append(_outcome(family, question, answer))
                if progress:
                    progress(len(report.outcomes), limit)
    return report


def _ask(picture: Picture, question: Question, mode: EvalMode, rng: np.random.Generator) -> Answer:
    if mode in ("awares", "full", "low"):
        return picture.ask(question.text, AskOptions(mode=mode, max_new_tokens=_MAX_NEW_TOKENS))
    if mode == "oracle-crop":
        if question.size != "small":
            return picture.ask(
                question.text, AskOptions(mode="low", max_new_tokens=_MAX_NEW_TOKENS)
            )
        crops = smallest_crops(question.evidence)
        return picture.ask(question.text, AskOptions(crops=crops, max_new_tokens=_MAX_NEW_TOKENS))
    own = picture.ask(question.text, AskOptions(max_new_tokens=_MAX_NEW_TOKENS))
    if not own.crops:
        return own
    crops = ("all",)
    if mode == "random-crop":
        crops = (str(rng.choice(QUARTERS)),)
    return picture.ask(question.text, AskOptions(crops=crops, max_new_tokens=_MAX_NEW_TOKENS))


def _outcome(family: str, question: Question, answer: Answer) -> Outcome:
    crops = tuple(crop.id for crop in answer.crops)
    tokens = answer.visual_tokens
    return Outcome(
        family=family,
        kind=question.kind,
        size=question.size,
        question=question.text,
        expected=question.answer,
        answer=answer.text,
        correct=answer.text.strip().casefold() == question.answer.casefold(),
        needs_zoom=question.size == "small",
        crops=crops,
        crops_sufficient=bool(crops) and is_sufficient(question.evidence, crops),
        call_status=answer.call_status,
        visual_tokens=tokens.low + tokens.crops,
        full_tokens=tokens.full,
        total_ms=answer.total_ms,
    )
