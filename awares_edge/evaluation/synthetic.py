"""Measures a model on the synthetic suite, through the public controller API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np
from PIL import Image

from awares_edge.controller.askable import Askable
from awares_edge.controller.trace import Answer
from awares_edge.errors import ImageError
from awares_edge.evaluation.answers import is_right
from awares_edge.evaluation.modes import ask, get_mode, in_mode
from awares_edge.evaluation.report import Outcome, Report
from awares_edge.evaluation.views import Refused, View
from awares_edge.synth.generate import Split, generate
from awares_edge.synth.oracle import smallest_crops
from awares_edge.synth.sample import SIDE, Question

PictureControl = Literal["right", "blank", "other"]
QUESTIONS_PER_PICTURE = 6
MAX_NEW_TOKENS = 24


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


def shown_pictures(
    drawn: Iterable[tuple[str, Image.Image, list[Question]]],
    control: PictureControl,
    view: View | None = None,
) -> Iterator[tuple[str, Image.Image | Refused, list[Question]]]:
    """What `questions` gives as the model sees it.

    Args:
        control: "blank" or "other" puts a blank or the picture before in the place of each.
        view: how pictures reach the model, such as through a camera; None for as they are.
    """
    blank = Image.new("RGB", (SIDE, SIDE), (238, 238, 238))
    before = blank
    for index, (family, image, chosen) in enumerate(drawn):
        shown = {"right": image, "blank": blank, "other": before}[control]
        before = image
        seen = (shown, chosen) if view is None else view.show(index, shown, chosen)
        yield (family, seen, chosen) if isinstance(seen, Refused) else (family, *seen)


def balanced(
    rng: np.random.Generator, questions: list[Question], count: int, high: float = 0.46
) -> list[Question]:
    """``count`` questions, each small-text with probability ``high`` while both kinds last.

    Small text runs out first: of all questions it is 37%, and 35% of any 2,000 at the least.
    """
    small = [q for q in questions if q.size == "small"]
    other = [q for q in questions if q.size != "small"]
    small = [small[int(i)] for i in rng.permutation(len(small))]
    other = [other[int(i)] for i in rng.permutation(len(other))]
    out: list[Question] = []
    while len(out) < count and (small or other):
        pick = small if (small and (not other or rng.random() < high)) else other
        out.append(pick.pop())
    return out


def evaluate(
    model: Askable,
    mode: str,
    *,
    split: Split = "test",
    seed: int = 0,
    limit: int = 2000,
    families: tuple[str, ...] = (),
    control: PictureControl = "right",
    view: View | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Ask every question of a split and score the answers (`is_right`).

    ``control`` replaces the picture by a blank one or by the one before, to show
    what guessing gives; ``view`` shows it by way of a camera, for instance. A picture that cannot
    be used is skipped, one that the view refuses is not asked about; the report names both.
    """
    report = Report(get_mode(mode))
    model = in_mode(model, mode)
    rng = np.random.default_rng([seed, 11])
    drawn = questions(split, seed, limit, families)
    for family, shown, chosen in shown_pictures(drawn, control, view):
        if isinstance(shown, Refused):
            report.refuse(shown.reason, len(chosen))
            continue
        try:
            with model.open(shown) as picture:
                for question in chosen:
                    answer = ask(
                        picture,
                        question.text,
                        mode,
                        max_new_tokens=MAX_NEW_TOKENS,
                        rng=rng,
                        evidence=needed_crops(question),
                    )
                    report.outcomes.append(_outcome(family, question, answer))
                    if progress:
                        progress(len(report.outcomes) + report.refused, limit)
        except ImageError as error:
            report.skipped.append(f"{family}: {error}")
    return report


def needed_crops(question: Question) -> tuple[str, ...]:
    """The smallest crops that hold the evidence; none where the low-res view is enough."""
    return smallest_crops(question.evidence) if question.size == "small" else ()


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
        correct=is_right(answer.text, question.answer),
        needs_zoom=question.size == "small",
        crops=crops,
        crops_sufficient=bool(crops) and _holds(answer, question),
        call_status=answer.call_status,
        visual_tokens=tokens.low + tokens.crops,
        full_tokens=tokens.full,
        total_ms=answer.total_ms,
    )


def _holds(answer: Answer, question: Question) -> bool:
    """Whether every evidence box is completely inside one of the regions that were sent."""
    return all(
        any(
            crop.box[0] <= left
            and crop.box[1] <= top
            and crop.box[2] >= right
            and crop.box[3] >= bottom
            for crop in answer.crops
        )
        for left, top, right, bottom in question.evidence
    )
