"""Measures a model on the synthetic suite, through the public controller API.

Modes: ``awares`` (the model decides), ``full`` and ``low`` (baselines that never
zoom), ``always-full`` (the model decides when, and is shown the whole picture, as in
VisionThink), ``random-crop`` (the model decides when; the crop is random),
``oracle-crop`` (known evidence decides both), and ``progressive`` (calls inside crops).
``prune:R`` shows the whole picture at once, of whose visual tokens the share R is kept (as
VisionZip does; the torch runtime only).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, cast, get_args

import numpy as np
from PIL import Image

from awares_edge.controller.model import Model
from awares_edge.controller.options import AskOptions
from awares_edge.controller.picture import Picture
from awares_edge.controller.trace import Answer, Mode
from awares_edge.errors import ImageError, InputError
from awares_edge.evaluation.answers import is_right
from awares_edge.evaluation.report import Outcome, Report
from awares_edge.synth.generate import Split, generate
from awares_edge.synth.oracle import QUARTERS, smallest_crops
from awares_edge.synth.sample import SIDE, Question

EvalMode = Literal["awares", "full", "low", "always-full", "random-crop", "oracle-crop"]
MODES: tuple[EvalMode, ...] = get_args(EvalMode)
EXTRA_MODES = ("progressive", "prune:R")
"""Modes that are measured only when named."""
PictureControl = Literal["right", "blank", "other"]
QUESTIONS_PER_PICTURE = 6
_MAX_NEW_TOKENS = 24


def check_mode(mode: str) -> float:
    """Share of the visual tokens that a mode keeps: R of "prune:R", 1 for all others.

    Raises:
        InputError: there is no such mode.
    """
    if mode in MODES or mode == "progressive":
        return 1.0
    name, _, share = mode.partition(":")
    try:
        if name == "prune" and 0 < float(share) <= 1:
            return float(share)
    except ValueError:
        pass
    known = ", ".join((*MODES, *EXTRA_MODES))
    raise InputError(f"no mode {mode!r}: choose from {known} (R above 0 and at most 1)")


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
    model: Model,
    mode: str,
    *,
    split: Split = "test",
    seed: int = 0,
    limit: int = 2000,
    families: tuple[str, ...] = (),
    control: PictureControl = "right",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Ask every question of a split and score the answers (`is_right`).

    ``control`` replaces the picture by a blank one or by the one before, to show
    what guessing gives. A picture that cannot be used is skipped, and named in the report.
    """
    share = check_mode(mode)
    if mode.startswith("prune"):
        model = _pruned(model, share)
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
        try:
            with model.open(shown) as picture:
                for question in chosen:
                    answer = _ask(picture, question, mode, rng)
                    report.outcomes.append(_outcome(family, question, answer))
                    if progress:
                        progress(len(report.outcomes), limit)
        except ImageError as error:
            report.skipped.append(f"{family}: {error}")
    return report


def _pruned(model: Model, share: float) -> Model:
    """The same model with pruned pictures. It holds nothing of its own to close but its sessions.

    Raises:
        InputError: its runtime cannot prune.
    """
    return Model(
        model.runtime.pruned(share),
        model.tokenizer,
        model.special,
        model.protocol,
        model.preprocessing,
    )


def _ask(picture: Picture, question: Question, mode: str, rng: np.random.Generator) -> Answer:
    if mode.startswith("prune"):
        mode = "full"
    if mode in get_args(Mode):
        asked = cast(Mode, mode)
        return picture.ask(question.text, AskOptions(mode=asked, max_new_tokens=_MAX_NEW_TOKENS))
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
    given = picture.ask(question.text, AskOptions(crops=crops, max_new_tokens=_MAX_NEW_TOKENS))
    return _decided(own, given)


def _decided(own: Answer, given: Answer) -> Answer:
    """The answer from ``given`` crops as if the first turn of ``own`` had called for them."""
    turns = (own.turns[0], *given.turns[1:])
    repeated, deciding = (sum(answer.turns[0].ms.values()) for answer in (given, own))
    return replace(
        given,
        turns=turns,
        total_ms=given.total_ms - repeated + deciding,
        call_status=own.call_status,
        call_text=own.call_text,
    )


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
    """Does every evidence box lie whole in one of the regions that were sent?"""
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
